package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	dockertypes "github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// keychain finds the credentials that docker login and podman login wrote. They
// are looked for in the file that REGISTRY_AUTH_FILE names, in Docker's
// config.json and in Podman's auth.json; the first file that has some decides.
// authn.DefaultKeychain reads the others only where there is no config.json.
type keychain struct{}

// Resolve implements authn.Keychain.
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain. A helper program that fails
// is an error only if no other file has the credentials.
func (keychain) ResolveContext(_ context.Context, target authn.Resource) (authn.Authenticator, error) {
	var faults []error
	for _, load := range []func() (*configfile.ConfigFile, error){
		func() (*configfile.ConfigFile, error) { return authFile(os.Getenv("REGISTRY_AUTH_FILE")) },
		dockerConfig,
		func() (*configfile.ConfigFile, error) { return authFile(podmanAuthFile()) },
	} {
		cf, err := load()
		if err == nil && cf != nil {
			var c dockertypes.AuthConfig
			if c, err = lookUp(cf, target); err == nil && c != (dockertypes.AuthConfig{}) {
				return authn.FromConfig(authn.AuthConfig{
					Username: c.Username, Password: c.Password, Auth: c.Auth,
					IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
				}), nil
			}
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return authn.Anonymous, nil
}

// authFile reads a file of the format of containers-auth.json(5). There is none
// where it has no name or does not exist.
func authFile(path string) (*configfile.ConfigFile, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cf, err := config.LoadFromReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return cf, nil
}

// podmanAuthFile is where podman login writes: until the next start of the
// machine, or for good where there is no such place.
func podmanAuthFile() string {
	const file = "containers/auth.json"
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		p := filepath.Join(dir, file)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, file)
}

// lookUp returns what a file has for target, HOST/REPOSITORY or HOST: the
// credentials of the longest path that target is below, or else those of the
// host.
func lookUp(cf *configfile.ConfigFile, target authn.Resource) (dockertypes.AuthConfig, error) {
	host := displayHost(target.RegistryStr())
	_, path, _ := strings.Cut(target.String(), "/")
	for key := host + "/" + path; key != host && path != ""; key = key[:strings.LastIndexByte(key, '/')] {
		if c := filled(cf.AuthConfigs[key]); c != (dockertypes.AuthConfig{}) {
			return c, nil
		}
	}
	if host == hubAlias {
		if c := filled(cf.AuthConfigs[hubAlias]); c != (dockertypes.AuthConfig{}) {
			return c, nil
		}
	}
	// Docker's code takes the credentials of any path for those of its host.
	maps.DeleteFunc(cf.AuthConfigs, func(key string, _ dockertypes.AuthConfig) bool { return isPath(key) })
	if target.RegistryStr() == name.DefaultRegistry {
		host = authn.DefaultAuthKey
	}
	c, err := cf.GetAuthConfig(host)
	return filled(c), err
}

// filled returns c without its address, which says nothing of who may use it.
func filled(c dockertypes.AuthConfig) dockertypes.AuthConfig {
	c.ServerAddress = ""
	return c
}

// isPath reports whether the key of a file is HOST/PATH, as Podman writes it. A
// URL, and HOST/v1/ or HOST/v2/, mean the host.
func isPath(key string) bool {
	if strings.Contains(key, "://") {
		return false
	}
	_, path, _ := strings.Cut(key, "/")
	path = strings.Trim(path, "/")
	return path != "" && path != "v1" && path != "v2"
}
