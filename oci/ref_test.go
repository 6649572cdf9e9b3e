package oci

import (
	"strings"
	"testing"
)

func TestParseReference(t *testing.T) {
	sha256 := "sha256:" + strings.Repeat("ab", 32)
	sha512 := "sha512:" + strings.Repeat("ab", 64)
	for _, tt := range []struct{ in, want string }{
		{"ghcr.io/org/model:v1", "ghcr.io/org/model:v1"},
		{"ghcr.io/org/model", "ghcr.io/org/model:latest"},
		{"ghcr.io/org/model@" + sha256, "ghcr.io/org/model@" + sha256},
		{"ghcr.io/org/model:v1@" + sha512, "ghcr.io/org/model@" + sha512},
		{"docker.io/library/x:1", "docker.io/library/x:1"},
		{"index.docker.io/org/x", "docker.io/org/x:latest"},
		{"localhost/m", "localhost/m:latest"},
		{"127.0.0.1:5000/a/b__c/d-e:t", "127.0.0.1:5000/a/b__c/d-e:t"},
		{"[::1]:5000/a", "[::1]:5000/a:latest"},
		{"oci:dir", "oci:dir:latest"},
		{"oci:/a:b/dir", "oci:/a:b/dir:latest"},
		{"oci:/a/dir:v1", "oci:/a/dir:v1"},
		{"oci:dir@" + sha256, "oci:dir@" + sha256},
		{"oci:user@host/dir:x", "oci:user@host/dir:x"},
		{"oci-archive:m.tar", "oci-archive:m.tar:latest"},
		{"oci-archive:../m.tar:v1", "oci-archive:../m.tar:v1"},
		{"oci-archive:m.tar@" + sha512, "oci-archive:m.tar@" + sha512},
	} {
		r, err := ParseReference(tt.in, false)
		if err != nil || r.String() != tt.want {
			t.Errorf("%s: got %v, %v; want %s", tt.in, r, err, tt.want)
			continue
		}
		again, err := ParseReference(r.String(), false)
		if err != nil || again.String() != r.String() {
			t.Errorf("%s: canonical form is read as %v, %v", tt.in, again, err)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "name the registry"},
		{"ubuntu", "name the registry: docker.io/library/ubuntu"},
		{"ubuntu:22.04", "name the registry: docker.io/library/ubuntu:22.04"},
		{"org/model:v1", "name the registry: docker.io/org/model:v1"},
		{"docker.io/ubuntu:1", "name the whole repository: docker.io/library/ubuntu:1"},
		{"https://ghcr.io/a/b", "leave out the scheme"},
		{"ghcr.io/a:", "not a tag"},
		{"ghcr.io/a:-x", "not a tag"},
		{"ghcr.io/a:" + strings.Repeat("x", 129), "not a tag"},
		{"ghcr.io/", "not a repository"},
		{"ghcr.io/A/b", "not a repository"},
		{"ghcr.io/a/../b", "not a repository"},
		{"ghcr.io/a//b", "not a repository"},
		{"ghcr.io/a?x=y", "not a repository"},
		{"ghcr.io/a@sha256:../../x", "not a sha256 or sha512 digest"},
		{"ghcr.io/a@sha1:" + strings.Repeat("ab", 20), "not a sha256 or sha512 digest"},
		{"ghcr.io/a@sha256:" + strings.Repeat("AB", 32), "not a sha256 or sha512 digest"},
		{"user:pw@ghcr.io/a", "registries must be valid"},
		{"oci:", "path is empty"},
		{"oci::v1", "path is empty"},
		{"oci:dir:", "not a tag"},
		{"oci:dir:a b", "not a tag"},
		{"oci:dir@sha256:beef", "not a sha256"},
		{"oci-archive:a\x00b", "zero byte"},
	} {
		r, err := ParseReference(tt.in, false)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, %v; want an error with %q", tt.in, r, err, tt.want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:1": true, "127.9.9.9": true, "[::1]:80": true, "::1": true,
		"10.0.0.1": false, "localhost.evil.example": false, "x.localhost": false, "127.0.0.1.nip.io": false, "128.0.0.1": false,
	} {
		if isLoopback(host) != want {
			t.Errorf("isLoopback(%q) = %v", host, !want)
		}
	}
}
