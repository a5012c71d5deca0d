package swarm

// Standing is the state of the books that connections have rebuilt of one symbol.
type Standing struct {
	Symbol int32 // index in Plan.Symbols
	Depth  uint32
	Hash   uint32
	Seq    int64 // of the last of them
	Conn   int   // one of them
	Books  int   // how many
}

// Standings returns how the rebuilt books stand that are live, without those of
// slow readers: a row for each symbol, depth
// and hash.
func (w *Swarm) Standings() (all []Standing) {
	w.Do(func() {
		type state struct {
			symbol int32
			depth  uint32
			hash   uint32
		}
		at := map[state]int{}
		for _, l := range w.links {
			for i := range l.subs {
				s := &l.subs[i]
				if s.full == nil || s.stage != live || l.slow {
					continue
				}
				key := state{s.symbol, w.plan.Depths[s.depth], s.full.book.Hash()}
				if _, there := at[key]; !there {
					at[key] = len(all)
					all = append(all, Standing{Symbol: key.symbol, Depth: key.depth, Hash: key.hash, Conn: l.index})
				}
				row := &all[at[key]]
				row.Books++
				row.Seq = max(row.Seq, s.mine)
			}
		}
	})
	return all
}
