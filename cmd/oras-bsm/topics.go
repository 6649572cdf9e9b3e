package main

import "github.com/spf13/cobra"

// topics returns what can be asked of help beside the commands.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesHelp},
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
error. After a failure standard output is empty.`

const referencesHelp = `REF names a model in one of three kinds of store:

  HOST[:PORT]/REPOSITORY[:TAG]   a registry: ghcr.io/org/mistral:bsm
  oci:DIR[:TAG]                  an OCI layout, a directory: oci:./model.oci:v1
  oci-archive:FILE[:TAG]         an OCI layout in one tar: oci-archive:./model.tar:v1

An archive holds one artifact under one tag: a push replaces the whole archive.

TAG is latest if it is left out. Instead of :TAG, @sha256:DIGEST names exactly
one artifact, whatever happens to the tags.

Registries are spoken to over https; --plain-http allows http, and for localhost
it needs no flag. Credentials are those of oras-bsm login, docker login or podman
login.`
