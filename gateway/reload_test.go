package gateway

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// What is reloaded concerns clients that are connected already; the rest stays.
func TestReload(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.worker(echo)
		p := f.dial("/")
		p.send("before")
		cfg := *f.gw.config()
		cfg.MaxFrame, cfg.PingInterval, cfg.PongTimeout = 10, time.Second, 500*time.Millisecond
		cfg.Group, cfg.Name = "other", "g9" // need a restart
		if err := f.gw.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		equal(t, "group", f.gw.config().Group, "default")
		q, _, err := f.tryDial("/", nil) // does not read, so it does not answer pings
		if err != nil {
			t.Fatal(err)
		}
		p.send("0123456789")
		synctest.Wait()
		equal(t, "answers", p.got(), "before 0123456789")
		p.send("0123456789a")
		equal(t, "a frame that is too large by now", p.closed(), bus.CloseTooBig)
		time.Sleep(3 * time.Second)
		go q.read()
		equal(t, "one that is silent for too long by now", q.closed(), bus.CloseSilent)

		cfg.MaxFrame = 0
		if err := f.gw.Reload(cfg); err == nil || !strings.Contains(err.Error(), "max_frame") {
			t.Errorf("reload of what cannot be: %v", err)
		}
		equal(t, "max_frame", f.gw.config().MaxFrame, 10)
	})
}

// Every key that is said to be reloadable is.
func TestReloadable(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		before, changed := koanfValues(*f.gw.config()), *f.gw.config()
		changed.MaxDeliver, changed.Hold, changed.Drain, changed.MaxFrame = 9, time.Minute, time.Minute, 99
		changed.QueueFrames, changed.QueueBytes, changed.SendFrames, changed.SendBytes = 9, 99, 9, 99
		changed.HandshakeTimeout, changed.WriteTimeout, changed.CloseTimeout = time.Minute, time.Minute, time.Minute
		changed.PingInterval, changed.PongTimeout = time.Minute, time.Minute
		changed.Tap = TapConfig{Rate: 7}
		changed.TrustedProxies, changed.Origins = []string{"10.0.0.0/8"}, []string{"same"}
		changed.JWT = JWT{
			"cookie t", true, JWTKeys{file(t, jwks("r")), "https://h/", time.Minute, hmacFile(t)}, []string{"HS256"}, "i", "a", "u",
		}
		changed.Limits = Limits{1, 2, 3, 4, 5, time.Minute, 1 << 30}
		if err := f.gw.Reload(changed); err != nil {
			t.Fatal(err)
		}
		after := koanfValues(*f.gw.config())
		for _, key := range Reloadable {
			if v, ok := before[key]; !ok || v == after[key] {
				t.Errorf("%s: %v, and after the reload %v", key, v, after[key])
			}
			delete(before, key)
		}
		for key, v := range before {
			if after[key] != v {
				t.Errorf("%s is not reloadable, and was %v, is %v", key, v, after[key])
			}
		}
	})
}

// koanfValues are the values of a configuration by their keys.
func koanfValues(c Config) map[string]string {
	values := map[string]string{}
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			key := prefix + v.Type().Field(i).Tag.Get("koanf")
			if v.Field(i).Kind() == reflect.Struct {
				walk(key+".", v.Field(i))
			} else {
				values[key] = fmt.Sprint(v.Field(i).Interface())
			}
		}
	}
	walk("", reflect.ValueOf(c))
	return values
}
