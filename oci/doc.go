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
//
// [Copy] carries any artifact between stores, [Serve] makes a registry of one;
// [List], [Tag], [Diff], [Check], [Repair] and [GC] look after them. Registries
// are spoken to as the files of containerd, Docker and Podman on this machine say.
// What moves goes on where it was cut: blobs by ranges, pulls by a journal of
// checked chunks, copies and uploads by spool files. Nothing is believed because
// it is there; it is hashed again.
package oci
