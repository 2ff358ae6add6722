package host

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// Lists come whatever the names are: what JSON makes longer goes on another page. What
// is too much for one message is said to be.
func TestListsOfLongNames(t *testing.T) {
	dev, _, _ := run(t, load(t))
	ready(t, dev)
	dial(t, "ws://"+dev.Clients+"/?name=ann")
	url := "http://" + dev.Admin + "/api/v1/"
	var clients struct {
		Clients []struct{ Client bus.ClientID }
	}
	if _, body := call(t, "GET", url+"clients", "", ""); json.Unmarshal([]byte(body), &clients) != nil || len(clients.Clients) != 1 {
		t.Fatal(body)
	}
	client := url + "clients/" + string(clients.Clients[0].Client)
	const groups = bus.MaxGroups / 4 // in one request
	join := func(first int, name string) {
		t.Helper()
		var names []string
		for i := range groups {
			s := fmt.Sprint(first + i)
			names = append(names, s+strings.Repeat(name, (bus.MaxToken-len(s))/len(name)))
		}
		body, err := json.Marshal(map[string][]string{"groups": names})
		if err != nil {
			t.Fatal(err)
		}
		if status, answer := call(t, "POST", client+"/groups", "", string(body)); status != 204 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	if status, answer := call(t, "DELETE", url+"groups/room1", "", ""); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	for i := range 4 {
		join(groups*i, "\x01")
	}
	if status, answer := call(t, "GET", client, "", ""); status != 422 || !strings.Contains(answer, "which is more than one message can have") {
		t.Errorf("%d %.200s", status, answer)
	}
	n, after := 0, ""
	for {
		var page struct {
			Names []struct{ Name string }
			Next  string
		}
		status, answer := call(t, "GET", url+"groups?limit=10000"+after, "", "")
		if err := json.Unmarshal([]byte(answer), &page); status != 200 || err != nil {
			t.Fatalf("%d %.200s", status, answer)
		}
		if n += len(page.Names); page.Next == "" {
			break
		}
		after = "&after=" + strings.ReplaceAll(page.Next, "\x01", "%01")
	}
	if n != 4*groups {
		t.Errorf("%d groups are listed, want %d", n, 4*groups)
	}
}
