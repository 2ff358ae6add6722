package host

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/testbed"
)

// asks asks the admin listener with headers of a browser; redirects are not followed.
func asks(t *testing.T, url, host string, header http.Header) (status int, answer http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Header = host, header
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// Browsers that come to the admin listener get the dashboard, which shows the cluster to
// pages of this machine alone, and programs get the list of what there is.
func TestDashboard(t *testing.T) {
	at, _, _ := run(t, load(t))
	ready(t, at)
	url := "http://" + at.Admin
	browser := http.Header{"Accept": {"text/html,*/*;q=0.8"}}
	if status, answer := asks(t, url+"/", "", browser); status != 303 || answer.Get("Location") != "/dashboard/" {
		t.Errorf("a browser: %d %v", status, answer)
	}
	if status, body := get(t, url+"/"); status != 200 || !strings.Contains(body, "/dashboard/") {
		t.Errorf("a program: %d %s", status, body)
	}
	for what, c := range map[string]struct {
		host   string
		header http.Header
		want   int
	}{
		"the page":            {"", http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
		"another site":        {"", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"another origin":      {"", http.Header{"Origin": {"http://evil.example"}}, 403},
		"another host's name": {"evil.example", http.Header{}, 403},
	} {
		for _, path := range []string{"state", "live", "tap?client=g1-dpmq2x0sn1-7"} {
			if status, answer := asks(t, url+"/dashboard/data/"+path, c.host, c.header); status != c.want || answer.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s asks for %s: %d %v, want %d", what, path, status, answer, c.want)
			}
		}
	}
	err := testbed.Poll(t.Context(), func() error {
		_, body := get(t, url+"/dashboard/data/state")
		var v struct {
			Conditions []struct{ Role, Name, State string }
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return err
		}
		if len(v.Conditions) != 3 {
			return errNotYet(body)
		}
		for _, c := range v.Conditions {
			if c.State != "ok" {
				return errNotYet(body)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

type errNotYet string

func (e errNotYet) Error() string { return string(e) }

// Beyond loopback the page is open, for a browser sends no token with it, and its data is
// not; without the API there is none.
func TestGuardedDashboard(t *testing.T) {
	const token = "a-token-of-the-shop"
	at, _, _ := run(t, load(t, "admin.listen="+outside(t), "api.tokens="+token))
	url := "http://" + at.Admin
	for path, want := range map[string]int{"": 200, "main.js": 200, "data/state": 401, "data/live": 401, "data/tap": 401} {
		if status, _ := asks(t, url+"/dashboard/"+path, "", http.Header{}); status != want {
			t.Errorf("%q: %d, want %d", path, status, want)
		}
	}
	if status, _ := asks(t, url+"/", "", http.Header{"Accept": {"text/html"}}); status != 303 {
		t.Errorf("a browser: %d", status)
	}
	if status, _ := asks(t, url+"/dashboard/data/state", "", http.Header{"Authorization": {"Bearer " + token}}); status != 200 {
		t.Errorf("with a token: %d", status)
	}
	without := load(t)
	without.API = nil
	without.Only(configs.RoleRegister)
	at, _, _ = run(t, without)
	if status, _ := asks(t, "http://"+at.Admin+"/dashboard/", "", http.Header{}); status != 404 {
		t.Errorf("without the API: %d", status)
	}
	if status, _ := asks(t, "http://"+at.Admin+"/", "", http.Header{"Accept": {"text/html"}}); status != 200 {
		t.Errorf("a browser, without the API: %d", status)
	}
}
