// Package derive is what transformers have in common that make one meter's
// samples out of another's: how the new meter is called, how its volume is
// scaled, what is remembered of the sample before, and how the log hears of
// samples that cannot be computed.
package derive
