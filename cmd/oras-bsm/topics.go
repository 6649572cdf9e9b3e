package main

import "github.com/spf13/cobra"

// topics returns what can be asked of help beside the commands.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesHelp},
		{Use: "registries", Short: "How mirrors, certificates, credentials and proxies are found", Long: registriesHelp},
		{Use: "json", Short: "What --json writes", Long: jsonHelp},
		{Use: "references", Short: "How to name a model", Long: referencesHelp},
	}
}

// exitCodesHelp documents the constants in exit.go.
const exitCodesHelp = `The exit codes of oras-bsm, which scripts may rely on:

    0  the command did what it was asked
    1  another failure: a full disk, a missing permission, a file to rename
    2  the command line is wrong, or inspect --strict found a broken file
    3  what was found is not a model artifact
    4  the registry or the network failed, or the model is not there, or not for
       these credentials
    5  corrupt bytes, or a failed verification
    6  the artifact was made by a newer release, or needs what is not at hand
  130  interrupted by a signal

The result goes to standard output; progress, warnings and errors go to standard
error. After a failure standard output is empty, unless the failure is what the
command found. oras-bsm help json says what --json changes.`

// jsonHelp documents event.
const jsonHelp = `With --json standard output is the result of the command, one JSON document. After
a failure it is empty, unless the failure is what the command found, as with inspect
--strict. Standard error is JSON lines: one object a line, in UTF-8, each an event.
Scripts may rely on all of it; fields and events are only ever added, so ignore
those you do not know.

Every event has

  time      when it was, in RFC 3339, UTC
  event     which it is, one of these:

begin       a phase begins, such as "hashing" or "pulling"
              phase, total
progress    how far it is, once a second
              phase, done, skipped, total, rate
item-begin  the phase begins with one of several things, such as a layer
              phase, name, size
item-end    it ends with it
              phase, name, size, done, skipped, seconds, complete
end         the phase is over, also after a failure
              phase, done, skipped, total, seconds, complete
warning     something to know
              message
error       why the command failed; the last line
              message, code, and mostly hint

  phase     its name
  name      the item's name; two may have the same
  total     bytes of the phase; 0 if that is not known
  size      bytes of the item; 0 if that is not known
  done      bytes of them that are done, the skipped ones included
  skipped   bytes that needed no work: they are in place, by an earlier attempt
            for example
  rate      bytes a second that are done now, without the skipped ones
  seconds   since it began
  complete  true if done has reached total or size; left out where those are 0
  message   text for people
  code      the exit code: oras-bsm help exit-codes
  hint      what to do

--quiet leaves warning and error.`

const referencesHelp = `REF names a model in one of three kinds of store:

  HOST[:PORT]/REPOSITORY[:TAG]   a registry: ghcr.io/org/mistral:bsm
  oci:DIR[:TAG]                  an OCI layout, a directory: oci:./model.oci:v1
  oci-archive:FILE[:TAG]         an OCI layout in one tar: oci-archive:./model.tar:v1

An archive holds one artifact under one tag: a push replaces the whole archive. It
may be in parts, FILE.001, FILE.002 and so on, as save --split writes them.

TAG is latest if it is left out; of an archive, the artifact that it holds. Instead
of :TAG, @sha256:DIGEST names exactly one artifact, whatever happens to the tags.

Registries are spoken to over https; --plain-http allows http, and for localhost
it needs no flag. Credentials are those of oras-bsm login, docker login or podman
login: see oras-bsm help registries.`

const registriesHelp = `Mirrors are those of containerd. /etc/containerd/certs.d, or --hosts-dir DIR,
holds a directory for each registry: DIR/ghcr.io, DIR/registry.example_5000_ for
registry.example:5000, DIR/_default for all others. The hosts.toml in it says:

  server = "https://ghcr.io"              # asked last, and pushed to

  [host."https://mirror.example:5000"]    # asked first; more may follow
    capabilities = ["pull", "resolve"]    # without resolve, it is asked by digest
    ca = "mirror.crt"                     # files are relative to this one

Its other keys work, too: client, skip_verify, header, override_path,
dial_timeout, proxy. If a host is down, refuses or lacks what is wanted, or gives
wrong bytes, the next is asked. A push goes to the first host that may push: a
host without capabilities may do all. Without hosts.toml, *.crt in the directory
are authorities, *.cert and *.key the client's certificate and its key.

Certificates: --ca-file FILE trusts more authorities than the system does;
--cert-file and --key-file are shown to registries that want a client
certificate.

Credentials are looked for in REGISTRY_AUTH_FILE, in Docker's config.json
(DOCKER_CONFIG, or ~/.docker), which login writes, and in Podman's
containers/auth.json (XDG_RUNTIME_DIR, then XDG_CONFIG_HOME, or ~/.config). In
each the longest of HOST/PATH... counts, then HOST. They go to that HOST and to
the token server it names, and to no mirror: a mirror has credentials of its own.

Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.`
