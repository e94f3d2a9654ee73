package connectedapps

// Settle waits until no refresh is under way.
func (t *Tokens) Settle() {
	for {
		var one *flight
		t.mu.Lock()
		for _, one = range t.flights {
			break
		}
		t.mu.Unlock()
		if one == nil {
			return
		}
		<-one.done
	}
}
