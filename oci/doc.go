// Package oci turns a model directory into an OCI artifact and back.
//
//	dir --plan--> layers --encode, decode back, compare--> Target
//	Source --index, chunks--> checked, decoded --> dir
//
// A model is planned into one layer per transformer block ([Push]); mediatypes
// names what goes into the manifest, codec encodes the layers. An artifact lives
// in a registry, an OCI layout or one archive file ([Reference]); [Source] and
// [Target] hide the difference. Reading ([Pull], [Inspect], [Verify]) starts
// from the artifact's index layer, which the manifest digest covers, and
// trusts nothing else.
package oci
