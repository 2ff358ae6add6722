package secret

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestHidden(t *testing.T) {
	const hidden = "hunter2"
	v := struct {
		One  Text
		List []Text
		Map  map[string]Text
	}{hidden, []Text{hidden}, map[string]Text{"a": hidden}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v, "one", v.One)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v, "one", v.One)
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		log.String(), string(data), fmt.Sprint(v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v),
		fmt.Sprintf("%q", v.List), fmt.Sprintf("%s %v", v.One, v.Map),
	} {
		if strings.Contains(shown, hidden) || !strings.Contains(shown, Mask) {
			t.Errorf("shown: %s", shown)
		}
	}
	if Text("").String() != "" {
		t.Error("nothing is masked, which looks like something")
	}
	for text, want := range map[Text]bool{"": false, Mask: true, "***": true, "*a*": false} {
		if text.IsMask() != want {
			t.Errorf("%q: IsMask is %v", string(text), !want)
		}
	}
}
