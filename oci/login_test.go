package oci

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
)

// TestLogin logs in with a wrong and a right password, pulls with what was
// kept, and logs out.
func TestLogin(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		t.Run(scheme, func(t *testing.T) {
			var s *stub
			s = newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
				user, pass, _ := r.BasicAuth()
				known := user == "user" && pass == "pass"
				switch {
				case r.URL.Path == "/token" && known:
					_, _ = io.WriteString(w, `{"token":"tkn"}`)
				case r.URL.Path != "/token" && (scheme == "Basic" && known || r.Header.Get("Authorization") == "Bearer tkn"):
					return false
				default:
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`%s realm="http://%s/token",service="s"`, scheme, s.host))
					w.WriteHeader(http.StatusUnauthorized)
				}
				return true
			})
			if err := Login(t.Context(), s.host, "user", "guess", nil); !errors.Is(err, ErrUnauthorized) {
				t.Fatalf("a wrong password: %v", err)
			}
			config := os.Getenv("DOCKER_CONFIG") + "/config.json"
			if _, err := os.Stat(config); err == nil {
				t.Error("a wrong password is kept")
			}
			m := newModel(t, 70)
			if err := Login(t.Context(), s.host, "user", "pass", nil); err != nil {
				t.Fatal(err)
			}
			if fi, err := os.Stat(config); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", config, fi, err)
			}
			m.publish(t, s.ref(t))
			if d, err := resolve(t.Context(), s.ref(t)); err != nil || d.Digest != m.index.Digest {
				t.Errorf("logged in: %v, %v", d, err)
			}
			if err := Logout(s.host); err != nil {
				t.Fatal(err)
			}
			if _, err := resolve(t.Context(), s.ref(t)); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("logged out: %v", err)
			}
		})
	}
	if err := Login(t.Context(), "ghcr.io", "", "x", nil); err == nil {
		t.Error("no user name")
	}
}
