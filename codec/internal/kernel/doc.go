// Package kernel holds the inner loops of the codec over plain slices: it
// splits floating-point elements into a symbol (exponent and top mantissa bits)
// and the rest, and codes the symbols with an interleaved rANS coder.
//
// The Go code here is the reference for the byte layout that FORMAT.md (in the
// parent directory) sets out in "The rANS method". Nothing in it knows chunks,
// headers or files; lengths that come from a stream are checked by the caller
// unless a function says otherwise.
//
// Source of the coder: J. Duda, "Asymmetric numeral systems" (arXiv 1311.2540),
// range variant, with F. Giesen's interleaving (arXiv 1402.3392). Probabilities
// are multiples of 1/256 and states are 16 bits wide, so that a state is two
// byte planes and a vector unit needs neither gathers nor wide multiplies.
package kernel
