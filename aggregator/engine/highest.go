package engine

// Highest is the highest number of a metric that was ever written or forgotten, as
// far as the engine knows; 0 if there is none. An index that was restored from a
// copy gives no number up to it to another metric.
func (e *Engine) Highest() Ref {
	var highest Ref
	for i := range e.head.shards {
		s := &e.head.shards[i]
		s.mu.Lock()
		highest = max(highest, s.highest(Ref(i)))
		s.mu.Unlock()
	}
	return highest
}

// highest is the highest number of a metric in the shard of the given number.
func (s *shard) highest(number Ref) Ref {
	for g := len(s.groups) - 1; g >= 0; g-- {
		if s.groups[g] == nil {
			continue
		}
		for i := groupLen - 1; i >= 0; i-- {
			if s.groups[g][i].state != 0 {
				return Ref(g*groupLen+i)*shards + number
			}
		}
	}
	return 0
}
