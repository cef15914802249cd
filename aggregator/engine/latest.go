package engine

// Latest is the latest time that a point may have now, in nanoseconds since 1970.
// [Engine.Write] refuses points that are later.
func (e *Engine) Latest() int64 { return e.o.Now().Add(e.o.MaxFuture).UnixNano() }
