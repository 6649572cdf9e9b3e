package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	dockertypes "github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Login checks the credentials with the registry, HOST or HOST:PORT, and keeps
// them where docker login does: with the credential helper that
// ~/.docker/config.json names for the registry, or else in that file.
// DOCKER_CONFIG moves the file. Nothing is kept that the registry refuses.
func Login(ctx context.Context, registry, user, password string, o *StoreOptions) error {
	return fail("logging in to", registry, login(ctx, registry, user, password, o))
}

func login(ctx context.Context, registry, user, password string, o *StoreOptions) error {
	if user == "" || password == "" {
		return errors.New("user name and password must not be empty")
	}
	reg, err := name.NewRegistry(registry, name.StrictValidation)
	if err != nil {
		return err
	}
	if err := checkCredentials(ctx, reg, user, password, o); err != nil {
		return err
	}
	cf, err := dockerConfig()
	if err != nil {
		return err
	}
	key := credentialKey(reg)
	return cf.GetCredentialsStore(key).Store(dockertypes.AuthConfig{ServerAddress: key, Username: user, Password: password})
}

// checkCredentials asks the registry whether it takes user and password. It is
// spoken to as hosts.toml says; its mirrors have credentials of their own.
func checkCredentials(ctx context.Context, reg name.Registry, user, password string, o *StoreOptions) error {
	ends, err := endpoints(Reference{kind: kindRegistry, repo: name.Repository{Registry: reg}}, o)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ends, func(e *endpoint) bool { return e.namespace() == "" })
	if i < 0 {
		return fmt.Errorf("hosts.toml has other hosts in its place, such as %s: log in to these", ends[0].host.Name)
	}
	r, err := ends[i].open(defaultPatience)
	if err != nil {
		return err
	}
	defer r.Close()
	auth := authn.FromConfig(authn.AuthConfig{Username: user, Password: password})
	return tryCredentials(ctx, r.repo.Registry, auth, r.below)
}

// tryCredentials asks the registry whether it takes auth.
func tryCredentials(ctx context.Context, reg name.Registry, auth authn.Authenticator, below http.RoundTripper) error {
	host := displayHost(reg.RegistryStr())
	refused := func(err error) error {
		if t, ok := errors.AsType[*transport.Error](err); ok && (t.StatusCode == http.StatusUnauthorized || t.StatusCode == http.StatusForbidden) {
			return fmt.Errorf("%w: %s refuses this user name and password", ErrUnauthorized, host)
		}
		return registryFault(host, err)
	}
	rt, err := transport.NewWithContext(ctx, reg, auth, below, nil)
	if err != nil {
		return refused(err)
	}
	u := url.URL{Scheme: reg.Scheme(), Host: reg.RegistryStr(), Path: "/v2/"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: rt, CheckRedirect: checkRedirect}
	resp, err := client.Do(req)
	if err != nil {
		return refused(err)
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return refused(err)
	}
	return nil
}

// Logout forgets the credentials for a registry. To have none is no error.
func Logout(registry string) error {
	return fail("logging out of", registry, logout(registry))
}

func logout(registry string) error {
	reg, err := name.NewRegistry(registry, name.StrictValidation)
	if err != nil {
		return err
	}
	cf, err := dockerConfig()
	if err != nil {
		return err
	}
	key := credentialKey(reg)
	return cf.GetCredentialsStore(key).Erase(key)
}

func dockerConfig() (*configfile.ConfigFile, error) {
	cf, err := config.Load(os.Getenv(config.EnvOverrideConfigDir))
	if err != nil {
		return nil, fmt.Errorf("reading docker's config.json: %w", err)
	}
	return cf, nil
}

// credentialKey is the name under which clients keep a registry's credentials.
func credentialKey(reg name.Registry) string {
	if reg.RegistryStr() == name.DefaultRegistry {
		return authn.DefaultAuthKey
	}
	return reg.RegistryStr()
}
