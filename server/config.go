package server

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"eidgate/internal/strictyaml"
)

// Config is the file that "eidgate serve" runs from. A key that is not here
// is an error. Secrets are paths to files that only the server may read.
type Config struct {
	Server   ServerConfig    `yaml:"server"`
	Store    StoreConfig     `yaml:"store"`
	Keys     KeysConfig      `yaml:"keys"`
	EIDs     EIDsConfig      `yaml:"eids"`      // what live keys use
	TestEIDs EIDsConfig      `yaml:"test_eids"` // what test keys use: the issuers' test systems, or "eidgate sandbox"
	Accounts []AccountConfig `yaml:"accounts"`  // the relying parties; what stands here is written into the store at start
	Mail     *MailConfig     `yaml:"mail"`      // needed for webhook_email
	Sessions SessionsConfig  `yaml:"sessions"`
	Log      LogConfig       `yaml:"log"`
	Webhooks WebhooksConfig  `yaml:"webhooks"`
}

// ServerConfig is where the server listens and what it is called.
type ServerConfig struct {
	PublicURL      string         `yaml:"public_url"` // the one name that this server answers to; https, no path. Required
	Listen         ListenConfig   `yaml:"listen"`
	TLS            TLSConfig      `yaml:"tls"`             // the public listener's certificate
	MTLSURL        string         `yaml:"mtls_url"`        // what listen.mtls is called; https, no path, and not public_url. Required with it
	MTLSTLS        TLSConfig      `yaml:"mtls_tls"`        // its certificate; default tls
	MTLSRoots      string         `yaml:"mtls_roots"`      // PEM certificates of those who may issue clients' certificates (tls_client_auth); default nobody, so that each client names its own
	TrustedProxies []string       `yaml:"trusted_proxies"` // networks whose X-Forwarded-For counts, and at a listen.mtls without TLS their Client-Cert; default none
	PageRate       *int           `yaml:"page_rate"`       // of people's pages from one address, in a second and on one node, five times as many at once; above it, a page says to wait and comes again. Behind a proxy that trusted_proxies lacks, all people have its address and share this. 0 to 100000, 0 for no limit; default 20
	Contact        string         `yaml:"contact"`         // how people reach the operator, shown at the public address; default nothing
	ShutdownDelay  *time.Duration `yaml:"shutdown_delay"`  // how long /readyz says no before the drain; 0s to 1m, default 5s
}

// ListenConfig is one address for each listener.
type ListenConfig struct {
	Public string `yaml:"public"` // default ":8443"
	MTLS   string `yaml:"mtls"`   // for OpenID Connect clients that show a certificate, which browsers must never be asked for; default no such listener
	Ops    string `yaml:"ops"`    // health and metrics, never public; default "127.0.0.1:8709"
}

// TLSConfig is a listener's certificate. The listener then speaks TLS 1.3, and
// 1.2 with AES-GCM alone. Without it the listener speaks http, for a proxy that
// ends TLS.
type TLSConfig struct {
	Certificate string `yaml:"certificate"` // PEM file with the chain
	Key         string `yaml:"key"`         // PEM file that only the server may read
}

// StoreConfig is where sessions are kept.
type StoreConfig struct {
	URL     string `yaml:"url"`      // sqlite:FILE, or postgres://… without a password in it
	URLFile string `yaml:"url_file"` // file with the address, when it holds a password. One of the two is required
}

// KeysConfig is the root of all secrets.
type KeysConfig struct {
	MasterFile       string `yaml:"master_file"`        // 32 random bytes as 64 hex digits; openssl rand -hex 32. Required
	NextMasterFile   string `yaml:"next_master_file"`   // one that other nodes seal with already, or will: this one opens what they have sealed. Default none
	FormerMasterFile string `yaml:"former_master_file"` // the one before: what it has sealed is sealed with master_file within a minute. eidgate key master says when it can go. Default none
}

// EIDsConfig is one entry for each eID that is configured.
type EIDsConfig struct {
	BankIDSE *BankIDSEConfig `yaml:"bankid_se"`
	IDIN     *IDINConfig     `yaml:"idin"`
	IDINAge  *IDINAgeConfig  `yaml:"idin_age"`
	Itsme    *ItsmeConfig    `yaml:"itsme"`
	BankIDNO *BankIDNOConfig `yaml:"bankid_no"`
	MitID    *MitIDConfig    `yaml:"mitid"`
}

// BankIDSEConfig is an agreement about Swedish BankID.
type BankIDSEConfig struct {
	Certificate    string             `yaml:"certificate"`     // the RP certificate: PKCS#12, or PEM with its key. Required
	Key            string             `yaml:"key"`             // PEM key, if it is not in the certificate's file
	PasswordFile   string             `yaml:"password_file"`   // of a PKCS#12 file
	Previous       *CertificateConfig `yaml:"previous"`        // the certificate before a renewal; let it stand for 3 hours after the restart, for orders that were begun with it
	URL            string             `yaml:"url"`             // only in test_eids: another address of the RP API
	TLSRoots       string             `yaml:"tls_roots"`       // only in test_eids: PEM roots of that address
	SignatureRoots string             `yaml:"signature_roots"` // only in test_eids: PEM roots of its users' certificates
	LaunchURL      string             `yaml:"launch_url"`      // only in test_eids: where the app is opened instead of app.bankid.com
	StoreOnly      bool               `yaml:"store_only"`      // keep signatures without verifying them; default false
	AddressCheck   string             `yaml:"address_check"`   // off, log, require-same-prefix or require-equal; default log
}

// IDINConfig is a contract with an acquirer about iDIN. The acquirer's portal
// has the numbers and addresses, and takes the certificate.
type IDINConfig struct {
	MerchantID             string              `yaml:"merchant_id"`               // 10 digits, the first 4 of which are the acquirer's. Required
	SubID                  int                 `yaml:"sub_id"`                    // 0 to 999999; default 0, for none
	LegalID                string              `yaml:"legal_id"`                  // the party that the banks' answers must be made for, such as NL99ZZZ123456780000; default any
	DirectoryURL           string              `yaml:"directory_url"`             // of the routing service, for the list of banks. https. Required
	TransactionURL         string              `yaml:"transaction_url"`           // the same to begin a transaction; default directory_url
	StatusURL              string              `yaml:"status_url"`                // the same to ask for its result; default directory_url
	Certificate            string              `yaml:"certificate"`               // signs what is sent: PKCS#12, or PEM with its key; RSA, 2048 bits or more. Required
	Key                    string              `yaml:"key"`                       // PEM key, if it is not in the certificate's file
	PasswordFile           string              `yaml:"password_file"`             // of a PKCS#12 file
	Previous               *CertificateConfig  `yaml:"previous"`                  // the certificate before a renewal: transactions that were begun with it go on, and its key opens what banks still encrypt for it; let it stand until the acquirer has forgotten it
	Decryption             []string            `yaml:"decryption"`                // PEM keys that open the banks' answers, the current one first, then older ones; default the key of certificate, then that of previous
	Routing                []string            `yaml:"routing"`                   // PEM files with the certificates of the routing service, the current one and the next. Required
	Pins                   map[string][]string `yaml:"pins"`                      // for a bank's BIC, the public keys that it may sign with: SHA-256 of SubjectPublicKeyInfo, 64 hex digits; banks that are not here are not pinned
	Aliases                map[string][]string `yaml:"aliases"`                   // for a bank's BIC, the BICs that may answer in its place
	Services               int                 `yaml:"services"`                  // what the contract covers, as the sum of iDIN's numbers: 16384 id, 4096 name, 1024 address, 448 birth date (or 64 for 18 or older), 16 gender, 4 telephone, 2 e-mail; default everything
	Incomplete             string              `yaml:"incomplete"`                // when a bank lacks something that was asked for: deliver what there is, or fail; default deliver
	Expiration             time.Duration       `yaml:"expiration"`                // how long a person may take at the bank; 1m to 5m, default 5m
	Skew                   time.Duration       `yaml:"skew"`                      // by how much the banks' clocks may differ from this one; 0s to 5m, default 5s
	StatusRetryAfterReturn bool                `yaml:"status_retry_after_return"` // ask again when a person is back before the bank has a result; only if the acquirer allows it; default false
	StatusAtThreeMinutes   bool                `yaml:"status_at_three_minutes"`   // ask once at three minutes while nobody is back; only if the acquirer allows it; default false
	QR                     *IDINQRConfig       `yaml:"qr"`                        // a point of service: pages show a code that a phone scans, and the banks as another way
}

// IDINQRConfig is what the iDIN QR service has given a point of service. Its
// registration form asks for an address of ours for transactions: it is
// PUBLIC_URL/callback/live/idin/qr, with test instead of live in test_eids.
type IDINQRConfig struct {
	MerchantToken        string `yaml:"merchant_token"`          // *Merchant token*, a GUID. Required
	SecretSigningKeyFile string `yaml:"secret_signing_key_file"` // *Secret signing key*, in a file. Required
	SecretEncoding       string `yaml:"secret_encoding"`         // how that file writes the key: utf8, hex or base64; default utf8
	QRBackendURL         string `yaml:"qr_backend_url"`          // *QR backend URL*; default https://qrcode.idin.nl/idin-qr/v1.1/generate. Required in test_eids
}

// IDINAgeConfig is who answers whether a person is 18 or older.
type IDINAgeConfig struct {
	Backend    string            `yaml:"backend"` // idin, for the contract of the idin entry beside this one, else of the server; or agechecked. Required
	AgeChecked *AgeCheckedConfig `yaml:"agechecked"`
}

// AgeCheckedConfig is an agreement with AgeChecked.
type AgeCheckedConfig struct {
	URL         string `yaml:"url"`          // only in test_eids: another address than AgeChecked's test system
	KeyFile     string `yaml:"key_file"`     // the secret merchant key, in a file. Required
	Method      string `yaml:"method"`       // of the remote API, that starts a check; default ac0130
	URLField    string `yaml:"url_field"`    // where its answer has the person's address; default url
	ReturnField string `yaml:"return_field"` // where its request has the address to come back to; default returnurl
}

// ItsmeConfig is a contract about one service of itsme. The way back to register is
// PUBLIC_URL/callback/live/itsme, with test instead of live in test_eids; itsme fetches our
// public keys from PUBLIC_URL/jwks/live/itsme, or, for the contract of an account,
// from PUBLIC_URL/jwks/live/itsme/ACCOUNT and .../ACCOUNT/CONFIGID.
type ItsmeConfig struct {
	Issuer           string         `yaml:"issuer"`             // address of itsme, as it says of itself: https://idp.prd.itsme.services/v2, for test keys https://idp.e2e.itsme.services/v2. Required
	ClientID         string         `yaml:"client_id"`          // itsme's name for you, also called partner code. Required
	Service          string         `yaml:"service"`            // code of the service. Required
	LoginService     string         `yaml:"login_service"`      // code of a service that logs in: used where a party asks for no more than who comes again, e-mail and phone; default service
	Generation       int            `yaml:"generation"`         // of itsme's interfaces: 2, or 1 for contracts at itsme.be; default 2
	ClientSecretFile string         `yaml:"client_secret_file"` // for contracts with a secret: in a file
	Keys             []EIDKeyConfig `yaml:"keys"`               // for all others: one to sign and one that decrypts; without the latter nothing is encrypted, which itsme must have agreed to
	Scopes           []string       `yaml:"scopes"`             // that the contract covers; default profile, email, phone, address, eid
	Claims           []string       `yaml:"claims"`             // asked for one by one: age_gte_18, national_number, document_number, citizenship and others of docs/protocols/itsme.md §5
	Level            string         `yaml:"level"`              // basic, or advanced for the app's code at each login; default basic
	Unencrypted      bool           `yaml:"unencrypted"`        // true takes tokens that are signed and not encrypted too, though a key decrypts: while itsme changes a contract over; default false
	OldDevice        bool           `yaml:"old_device"`         // of generation 1: true asks for device by its name of 2016-06, not of 2017-05; default false
}

// BankIDNOConfig is a contract about Norwegian BankID. The way back to register is
// PUBLIC_URL/callback/live/bankidno, with test instead of live in test_eids; our public keys
// are at PUBLIC_URL/jwks/live/bankidno, as those for itsme are.
type BankIDNOConfig struct {
	Issuer           string         `yaml:"issuer"`             // address of BankID, as it says of itself: https://auth.bankid.no/auth/realms/prod, for test keys https://auth.current.bankid.no/auth/realms/current. Required
	ClientID         string         `yaml:"client_id"`          // BankID's name for you. Required
	ClientSecretFile string         `yaml:"client_secret_file"` // the client secret, in a file
	Keys             []EIDKeyConfig `yaml:"keys"`               // instead of a secret, and recommended: one to sign
	Scopes           []string       `yaml:"scopes"`             // that the contract covers: profile, phone, email, address, and for the national number nnin_altsub, or nnin where the person is asked; default profile
	Method           string         `yaml:"method"`             // BID (password) or BIS (biometrics) where a party names none; default lets the person choose
	Level            string         `yaml:"level"`              // the least that is taken: substantial or high; default substantial
}

// MitIDConfig is a contract about MitID with its broker, Nets eID Broker. The way back to
// register is PUBLIC_URL/callback/live/mitid, with test instead of live in test_eids; our
// public keys are at PUBLIC_URL/jwks/live/mitid, as those for itsme are.
type MitIDConfig struct {
	Issuer           string         `yaml:"issuer"`             // address of the broker, as it says of itself: https://netseidbroker.dk/op, for test keys https://pp.netseidbroker.dk/op. Required
	ClientID         string         `yaml:"client_id"`          // the broker's name for you. Required
	ClientSecretFile string         `yaml:"client_secret_file"` // the client secret, in a file
	Keys             []EIDKeyConfig `yaml:"keys"`               // instead of a secret: one to sign
	Scopes           []string       `yaml:"scopes"`             // that the contract covers: ssn for the CPR number, nemid.pid, ssn.details_name, ssn.details_address; default ssn
	Level            string         `yaml:"level"`              // the least that is taken: low, substantial or high; default substantial
	ReferenceText    string         `yaml:"reference_text"`     // that the app shows, up to 130 characters
	ActionText       string         `yaml:"action_text"`        // verb that the app shows: LOG_ON, APPROVE, CONFIRM, ACCEPT or SIGN; default LOG_ON
}

// EIDKeyConfig is one of our keys that an eID knows. To renew one, add the new key above it
// and say until when the old one is used: the new one signs from then on, and the old one opens
// messages for a day more.
type EIDKeyConfig struct {
	ID    string    `yaml:"id"`    // by which the eID finds it: kid. Required
	Use   string    `yaml:"use"`   // sign or decrypt. Required
	File  string    `yaml:"file"`  // in PEM. RSA of 2048 bits or more: openssl genrsa -out FILE 2048; to sign, where the eID takes ES256 or ES384, also EC on P-256 or P-384: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE. Required
	Until time.Time `yaml:"until"` // when it is used last: 2027-01-31T00:00:00Z; default for ever
}

// CertificateConfig is a certificate with its key.
type CertificateConfig struct {
	Certificate  string `yaml:"certificate"`   // PKCS#12, or PEM with its key. Required
	Key          string `yaml:"key"`           // PEM key, if it is not in the certificate's file
	PasswordFile string `yaml:"password_file"` // of a PKCS#12 file
}

// AccountConfig is one relying party.
type AccountConfig struct {
	ID                       string         `yaml:"id"`                              // UUID, stays the same for ever. Required
	Name                     string         `yaml:"name"`                            // what people read. Required
	Language                 string         `yaml:"language"`                        // two letters; default that of the person's browser
	Keys                     []KeyConfig    `yaml:"keys"`                            // up to 5 for each environment; an account needs one, or oidc_clients
	Hosts                    []string       `yaml:"hosts"`                           // hosts that people may be sent back to, as addresses have them: `xn--kp-fka.example`. Required for live keys
	Frames                   []string       `yaml:"frames"`                          // origins that may frame our pages, with hosts in the same form
	AllowedIPs               string         `yaml:"allowed_ips"`                     // addresses, networks and ranges of the party's servers, separated by semicolons
	EIDs                     []string       `yaml:"eids"`                            // default all that are configured
	WebhookTest              string         `yaml:"webhook_test"`                    // default address of notifications, test keys
	WebhookLive              string         `yaml:"webhook_live"`                    // the same for live keys
	WebhookSecretFile        string         `yaml:"webhook_secret_file"`             // whsec_…; signs Standard Webhooks headers. Required with notifications, unless webhook_signing_key_file is set
	WebhookFormerFile        string         `yaml:"webhook_former_secret_file"`      // while the party changes to a new secret, the one that it replaces: there is a signature with each. Default none
	WebhookSigningFile       string         `yaml:"webhook_signing_key_file"`        // an Ed25519 key in PEM, as PKCS#8; signs Standard Webhooks headers too, and its public half, which eidgate delivery key prints, verifies them. Default none
	WebhookFormerSigningFile string         `yaml:"webhook_former_signing_key_file"` // while the party changes to a new key, the one that it replaces: there is a signature with each. Default none
	WebhookEmail             string         `yaml:"webhook_email"`                   // thin or full; default thin for live keys, full for test keys
	Keep                     time.Duration  `yaml:"keep"`                            // how long personal data stays after the end; 5m to 720h, default sessions.keep
	Limits                   LimitsConfig   `yaml:"limits"`
	Switches                 SwitchesConfig `yaml:"switches"`
	Configs                  []ConfigConfig `yaml:"configs"` // what a request chooses by its configid
	Themes                   []ThemeConfig  `yaml:"themes"`  // looks of the pages that people see
	Layout                   string         `yaml:"layout"`  // name of the theme that counts where a request, a config and a client name none; default our look

	OIDCClients []OIDCClientConfig `yaml:"oidc_clients"` // the party's programs that log people in over OpenID Connect
}

// ConfigConfig is one of several configurations of an account.
type ConfigConfig struct {
	ID          string     `yaml:"id"`           // what a request names as configid; the one without an id counts when a request names none, and so does an only one
	Layout      string     `yaml:"layout"`       // name of one of the account's themes; a request's layout wins
	WebhookTest string     `yaml:"webhook_test"` // default address of notifications, test keys; wins over the account's
	WebhookLive string     `yaml:"webhook_live"` // the same for live keys
	EIDs        EIDsConfig `yaml:"eids"`         // the party's own agreements, for live keys; each wins over the server's
	TestEIDs    EIDsConfig `yaml:"test_eids"`    // the same for test keys
}

// ThemeConfig is a look of the pages that people see. What could not be read by
// everybody is refused, with the nearest colour that can.
type ThemeConfig struct {
	Name          string `yaml:"name"`          // what requests choose by layout; at most 100 characters. Required
	LogoFile      string `yaml:"logo_file"`     // picture in PNG, JPEG or GIF that stands beside the account's name, 40 pixels high; as a PNG at most 7 kB. Default none
	Accent        string `yaml:"accent"`        // colour of buttons and links, such as #1f4f82, as text in quotes. The dark form has the same one, as light as it must be; default ours
	Ground        string `yaml:"ground"`        // colour behind the page; default ours
	Corners       string `yaml:"corners"`       // square, soft or round; default round
	Font          string `yaml:"font"`          // system, serif, humanist or rounded: of those that the computer has; default system
	Light         bool   `yaml:"light"`         // true leaves out the dark form; default false
	Help          string `yaml:"help"`          // https address of your help, linked below each page; {language} in it stands for en, da, de, fi, fr, nb, nl or sv. Default none
	Accessibility string `yaml:"accessibility"` // the same for what you say of accessibility
	Privacy       string `yaml:"privacy"`       // the same for how you treat personal data
}

// KeyConfig is one API key. One that is taken away here, or whose account is,
// counts no more after the next start.
type KeyConfig struct {
	Environment string `yaml:"environment"` // test or live. Required
	File        string `yaml:"file"`        // a UUID in a file. Required
}

// OIDCClientConfig is a program of a relying party that logs people in over
// OpenID Connect; docs/apis/signicat.md tells more of each setting. A client that
// is taken away here is gone after the next start.
type OIDCClientConfig struct {
	ClientID      string   `yaml:"client_id"`                 // letters, digits, and . _ ~ -; no other client's on this server. Required
	Environment   string   `yaml:"environment"`               // test or live. Required
	ClientName    string   `yaml:"client_name"`               // what people read; default the account's name
	Layout        string   `yaml:"layout"`                    // name of one of the account's themes; default the account's layout
	Profile       string   `yaml:"profile"`                   // signicat, for programs written for Signicat; standard; fapi2; or fapi2-ms. default signicat
	Native        bool     `yaml:"native"`                    // an app: a port of this machine of any number, and schemes of its own; default false
	Hybrid        bool     `yaml:"hybrid"`                    // response_type "code id_token" too; profile signicat only; default false
	Redirects     []string `yaml:"redirect_uris"`             // where people are sent back to, compared letter by letter. Required
	Logouts       []string `yaml:"post_logout_redirect_uris"` // the same after a logout; default none
	BackLogout    string   `yaml:"backchannel_logout_uri"`    // https; told when a login ends; default nothing
	AnyLoopback   bool     `yaml:"any_loopback"`              // any address of this machine will do too; test only; default false
	Scopes        []string `yaml:"scopes"`                    // that it may ask for; default openid alone
	EIDs          []string `yaml:"eids"`                      // that it may use; default the account's
	ACRValues     string   `yaml:"acr_values"`                // of requests that have none; default nothing
	ForceACR      bool     `yaml:"force_acr_values"`          // acr_values counts for every request; default false
	FrameAncestor []string `yaml:"frame_ancestors"`           // origins that may frame the login; default none

	Auth        string                   `yaml:"token_endpoint_auth_method"`      // client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth, self_signed_tls_client_auth or none; default client_secret_basic, private_key_jwt with a fapi2 profile
	AuthAlg     string                   `yaml:"token_endpoint_auth_signing_alg"` // of private_key_jwt; default any of the profile
	Secrets     []OIDCSecretConfig       `yaml:"secrets"`
	Certificate *OIDCCertificateConfig   `yaml:"certificate"`
	JWKSFile    string                   `yaml:"jwks_file"` // JSON file with the client's public keys as a JWK set
	JWKSURI     string                   `yaml:"jwks_uri"`  // https address of such a set, in place of jwks_file and keys
	Keys        []OIDCKeyConfig          `yaml:"keys"`
	RequirePKCE bool                     `yaml:"require_pkce"`                          // refuse requests without a code_challenge; default false, true for clients without a secret and in the fapi2 profiles
	RequirePAR  bool                     `yaml:"require_pushed_authorization_requests"` // refuse requests that were not pushed; default false, true in the fapi2 profiles
	RequireJAR  bool                     `yaml:"require_signed_request_object"`         // refuse requests that are not signed; default false, true for fapi2-ms
	BareObject  bool                     `yaml:"accept_unsigned_request_object"`        // take one that is encrypted and holds bare JSON, as programs of an older generation send it; profile signicat only; default false
	RequestAlg  string                   `yaml:"request_object_signing_alg"`            // of signed requests; default any of the profile
	IDTokenAlg  string                   `yaml:"id_token_signed_response_alg"`          // default RS256, PS256 in the fapi2 profiles
	IDTokenEnc  OIDCEncryptionConfig     `yaml:"id_token_encryption"`
	EncryptID   bool                     `yaml:"require_encrypted_id_token"`   // never send an ID token that is not encrypted; default false
	UserData    string                   `yaml:"id_token_user_data"`           // what an ID token tells: Minimal, StandardScopes or All; default StandardScopes for signicat, else Minimal
	Userinfo    string                   `yaml:"userinfo_response"`            // Json, Signed, Encrypted or SignedAndEncrypted; default Json
	UserinfoAlg string                   `yaml:"userinfo_signed_response_alg"` // of a signed one; default as ID tokens
	UserinfoEnc OIDCEncryptionConfig     `yaml:"userinfo_encryption"`
	StringsOnly bool                     `yaml:"claims_as_strings"`                          // every claim about the person is text; default false
	Errors      string                   `yaml:"errors"`                                     // standard (access_denied) or signicat (IDP-3200), when a person cancels; default standard
	ForceLogin  bool                     `yaml:"force_login"`                                // never use an earlier login again; default false
	Reference   bool                     `yaml:"reference_access_tokens"`                    // access tokens that say nothing, where the profile has JWTs; default false
	BoundTLS    bool                     `yaml:"tls_client_certificate_bound_access_tokens"` // access tokens count only with the certificate that they were got with, in the fapi2 profiles in place of a DPoP proof; needs server.listen.mtls; default false
	Lifetimes   OIDCClientLifetimeConfig `yaml:"lifetimes"`
}

// OIDCSecretConfig is one secret of a client. While a new one is brought in,
// the old one stands beside it.
type OIDCSecretConfig struct {
	Name    string `yaml:"name"`    // that you know it by. Required
	File    string `yaml:"file"`    // at least 32 random letters and digits in a file: openssl rand -hex 32. Required
	Expires string `yaml:"expires"` // first day (UTC) on which it counts no more, such as 2027-01-31; default never
}

// OIDCCertificateConfig is what the certificate of a client must say that
// authenticates with tls_client_auth: one of these names.
type OIDCCertificateConfig struct {
	Subject string `yaml:"tls_client_auth_subject_dn"` // its subject, as RFC 4514 writes it
	DNS     string `yaml:"tls_client_auth_san_dns"`    // a DNS name
	URI     string `yaml:"tls_client_auth_san_uri"`    // an address
	IP      string `yaml:"tls_client_auth_san_ip"`     // an IP address
	Email   string `yaml:"tls_client_auth_san_email"`  // an e-mail address
	CAFile  string `yaml:"ca_file"`                    // PEM certificates of those who may have issued it; default server.mtls_roots. One of the two is required
}

// OIDCKeyConfig is one public key of a client, for as long as it counts.
type OIDCKeyConfig struct {
	Name      string `yaml:"name"`       // that you know it by. Required
	File      string `yaml:"file"`       // JSON file with the key as a JWK. Required
	NotBefore string `yaml:"not_before"` // first day (UTC) on which it counts; default always
	NotAfter  string `yaml:"not_after"`  // first day (UTC) on which it counts no more; default never
}

// OIDCEncryptionConfig is how something is encrypted for a client, whose keys
// must have one for it.
type OIDCEncryptionConfig struct {
	Alg string `yaml:"alg"` // RSA-OAEP, RSA-OAEP-256, ECDH-ES or ECDH-ES+A256KW; default no encryption
	Enc string `yaml:"enc"` // A128CBC-HS256, A192CBC-HS384, A256CBC-HS512 or A256GCM; default A256CBC-HS512 for signicat, else A256GCM
}

// OIDCClientLifetimeConfig is how long what a client gets counts.
type OIDCClientLifetimeConfig struct {
	Code           time.Duration `yaml:"code"`            // 15s to 10m, at most 60s in the fapi2 profiles; default 60s
	IDToken        time.Duration `yaml:"id_token"`        // 1m to 24h; default 10m
	AccessToken    time.Duration `yaml:"access_token"`    // 1m to 24h; default 10m
	Refresh        time.Duration `yaml:"refresh"`         // a refresh token and those that follow it; 1m to 8784h, and never longer than personal data is kept; default 24h
	RefreshSliding time.Duration `yaml:"refresh_sliding"` // since its last use; default as refresh
	SSO            time.Duration `yaml:"sso"`             // how long a login may be used again; 1m to 24h; default 1h
}

// LimitsConfig is how often each key and each OpenID client of an account may
// call, in a second and on one node; twice as often for a moment. Above it, the
// answer is 429.
type LimitsConfig struct {
	Setups int `yaml:"setups"` // of new sessions and logins; 1 to 100000, default 50
	Reads  int `yaml:"reads"`  // of results, and all other calls of a client; 1 to 100000, default 200
}

// SwitchesConfig is how the ZignSec API differs for older or newer clients; see
// docs/apis/zignsec.md.
type SwitchesConfig struct {
	DropStateOnSuccess      bool `yaml:"drop_state_on_success"`     // leave state out of a result that has an identity; default false
	LegacyErrorStatus       bool `yaml:"legacy_error_status"`       // answer 200 with errors that would be 4xx, other than 401 and 404; default false
	PostMessageJSON         bool `yaml:"post_message_json"`         // the message to the framing page is JSON text instead of an object; default false
	TargetErrorDetails      bool `yaml:"target_error_details"`      // tell targetError the code and reason too; default false
	HMACHexUpper            bool `yaml:"hmac_hex_upper"`            // the webhook signature in upper case; default false
	IdentificationDateLocal bool `yaml:"identification_date_local"` // IdentificationDate in Swedish time instead of UTC; default false
	WildcardFrameOrigin     bool `yaml:"wildcard_frame_origin"`     // any page may frame ours, and gets the message; default false
	AskPersonalNumber       bool `yaml:"ask_personal_number"`       // ask people for their number before a login with sbid; default false
	EchoCustom              bool `yaml:"echo_custom"`               // custom comes back in the result; default false
	ItsmeLegacyNames        bool `yaml:"itsme_legacy_names"`        // v3: names of itsme as ZignSec's published sample has them; default false
	ItsmeBounceURL          bool `yaml:"itsme_bounce_url"`          // v3: a page of ours stands before itsme, so that the browser is known that comes back; default false
	WebhookMaxAttempts      int  `yaml:"webhook_max_attempts"`      // 20 or 3; default 20
	NoWebhookHMAC           bool `yaml:"no_webhook_hmac"`           // notifications without X-ZignSec-Hmac-SHA256, which is keyed with the API key: then no copy of a key is kept; default false
}

// MailConfig is the relay that mail is submitted to.
type MailConfig struct {
	Host         string `yaml:"host"`          // of the relay. Required
	Port         int    `yaml:"port"`          // 465 (TLS from the start) or 587 (STARTTLS, required); default 587
	User         string `yaml:"user"`          // account at the relay; default none
	PasswordFile string `yaml:"password_file"` // of that account. Required with user
	From         string `yaml:"from"`          // address that mail comes from. Required
	CAFile       string `yaml:"ca_file"`       // PEM roots that may vouch for the relay; default those of the system
}

// SessionsConfig is the clocks of a session.
type SessionsConfig struct {
	Idle time.Duration `yaml:"idle"` // without an act of the person; 1m to 1h, default 15m
	Keep time.Duration `yaml:"keep"` // personal data after the end; 5m to 720h, default 24h
}

// LogConfig is what is logged, to standard output.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info, warn or error; default info
	Format string `yaml:"format"` // json or text; default json
}

// WebhooksConfig is where notifications may go.
type WebhooksConfig struct {
	AllowedNetworks []string `yaml:"allowed_networks"` // private networks that they may reach all the same; default none
}

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// ReadConfig reads and checks a file. The problems are all there are; without
// errors among them the configuration can be run.
func ReadConfig(path string) (*Config, []strictyaml.Problem, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	var c Config
	doc := strictyaml.Decode(raw, &c)
	if len(doc.Problems) == 1 && strings.HasPrefix(doc.Problems[0].Text, "not readable as YAML") {
		return nil, doc.Problems, nil
	}
	k := checker{doc: doc, now: time.Now(), of: &c.Server}
	k.config(&c)
	return &c, doc.Sorted(), nil
}

const opsDefault = "127.0.0.1:8709"

// OpsURL is where the operations listener of a configuration answers on this
// machine. The rest of the file is not looked at: a server that runs may have
// read another one. With an error it is where a server answers that was told
// nothing else.
func OpsURL(path string) (string, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "http://" + opsDefault, fmt.Errorf("read configuration: %w", err)
	}
	var c Config
	strictyaml.Decode(raw, &c)
	host, port, err := net.SplitHostPort(orElse(c.Server.Listen.Ops, opsDefault))
	if err != nil {
		return "http://" + opsDefault, fmt.Errorf("server.listen.ops: %w", err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// Summary is what the configuration would run, for people.
func (c *Config) Summary() []string {
	scheme := "behind a proxy that ends TLS"
	switch {
	case c.Server.TLS.Certificate != "":
		scheme = "with TLS"
	case strings.HasPrefix(c.Server.PublicURL, "http://"):
		scheme = "without TLS"
	}
	kind := "address in a file"
	if c.Store.URL != "" {
		kind, _, _ = strings.Cut(c.Store.URL, ":")
	}
	out := []string{
		fmt.Sprintf("public    %s on %s, %s", c.Server.PublicURL, orElse(c.Server.Listen.Public, ":8443"), scheme),
		"ops       " + orElse(c.Server.Listen.Ops, opsDefault),
		"store     " + kind,
	}
	if c.Server.Listen.MTLS != "" {
		scheme := "behind a proxy that ends TLS"
		if c.Server.mtlsTLS().Certificate != "" {
			scheme = "with TLS"
		}
		out = append(out, fmt.Sprintf("mtls      %s on %s, %s", c.Server.MTLSURL, c.Server.Listen.MTLS, scheme))
	}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		keys := map[string]int{}
		for _, k := range a.Keys {
			keys[k.Environment]++
		}
		line := fmt.Sprintf("account   %s: %d test and %d live keys, %d configurations", a.Name, keys["test"], keys["live"], len(a.Configs))
		if len(a.OIDCClients) > 0 {
			line += fmt.Sprintf(", %d OpenID Connect clients", len(a.OIDCClients))
		}
		out = append(out, line)
	}
	for _, e := range []struct {
		name string
		of   *EIDsConfig
	}{{"eids", &c.EIDs}, {"test_eids", &c.TestEIDs}} {
		if names := e.of.names(); len(names) > 0 {
			out = append(out, fmt.Sprintf("%-9s %s", e.name, strings.Join(names, ", ")))
		}
	}
	return out
}
