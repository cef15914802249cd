package window

// Folder makes windows of points. It keeps buffers, so that it allocates nothing
// when it is used again. Not for concurrent use. The zero value is ready.
type Folder struct{}

// Fold appends to f the windows of points, which are in ascending order of time,
// without equal times, and in windows after those of f. The point before the
// first one, if there is one, is needed for rates only.
func (d *Folder) Fold(f *Frame, before *Point, times []int64, values []float64) {
}
