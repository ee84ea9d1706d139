package control_test

import (
	"net/url"
	"testing"

	"eidgate/sandbox/control"
	"eidgate/test/rig"
)

// TestOutcomes runs every outcome on a server, through every API: what the
// list says is what relying parties receive.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	for _, o := range control.Outcomes() {
		for api, want := range o.Receives {
			got := outcomeOf(t, w, api, o.Outcome)
			if got != want {
				t.Errorf("%s %s: %v, want %v", o.Outcome, api, got, want)
			}
		}
	}
}

func outcomeOf(t *testing.T, w *rig.Dev, api, outcome string) control.Receipt {
	t.Helper()
	var errs any
	var state string
	switch api {
	case "zignsec-v2":
		id := w.Setup("sbid-another", url.Values{"target": {"http://localhost/ok"}})
		w.Decide(id, outcome, "ada")
		got := w.Result(id)
		errs, state = got["errors"], rig.State(got)
	case "zignsec-headless":
		_, out := w.Call("POST", w.URLs["public"]+"/BankIDSE/Authenticate", "application/json", `{"endUserIp":"127.0.0.1"}`)
		id, _ := out["id"].(string)
		w.Decide(id, outcome, "ada")
		_, got := w.Call("GET", w.URLs["public"]+"/BankIDSE/Collect?orderRef="+out["orderRef"].(string), "application/json", "")
		if errs, state = got["errors"], "ERROR"; got["progressStatus"] == "COMPLETE" {
			state = "FINISHED"
		}
	default:
		t.Fatalf("nobody knows how to use %s", api)
	}
	if all, _ := errs.([]any); len(all) > 0 {
		code, _ := all[0].(map[string]any)["code"].(string)
		return control.Receipt{State: state, Code: code}
	}
	return control.Receipt{State: state}
}
