package eid

// What a relying party may want to know of a person, for eIDs that release
// only what is asked: values of a request's Wanted.
const (
	WantID      = "id"      // a lasting name for the person
	WantNumber  = "number"  // national identity number
	WantName    = "name"    // in every form that the eID has
	WantAddress = "address" // postal
	WantBirth   = "birth"   // date of birth; excludes WantAdult
	WantAdult   = "adult"   // whether the person is 18 or older
	WantGender  = "gender"
	WantPhone   = "phone"
	WantEmail   = "email"

	WantDocument = "document" // what the eID was issued on: number, type, country, dates
	WantDevice   = "device"   // on which it was used
)
