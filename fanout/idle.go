package fanout

import (
	"container/list"

	"github.com/depthcast/depthcast/proto"
)

// idleTopics are topics without readers, those first that have had none for longest.
// To find the next costs the same for any number of them. Guarded by Hub.mu.
type idleTopics struct {
	all list.List // of *Topic
	// Those of a kind that may have to give way to another of it. The lists of kinds
	// without any are not kept.
	kinds map[topicKind]*list.List
}

// topicKind is what topics have in common of which there may be so many and no more.
type topicKind struct {
	pattern bool   // they list instruments
	symbol  string // else they group the prices of one
}

// kindOf returns the kind of a topic; the zero value: it is of none.
func kindOf(key proto.TopicKey) topicKind {
	switch {
	case isPattern(key):
		return topicKind{pattern: true}
	case !key.View.Group.None():
		return topicKind{symbol: key.Symbol}
	}
	return topicKind{}
}

// idleElements are where a topic stands in idleTopics; nil: nowhere. Guarded by Hub.mu.
type idleElements struct {
	all, kind *list.Element
}

// add puts in t, which has just lost its last reader.
func (i *idleTopics) add(t *Topic) {
	t.idle.all = i.all.PushBack(t)
	kind := kindOf(t.key)
	if kind == (topicKind{}) {
		return
	}
	of := i.kinds[kind]
	if of == nil {
		if i.kinds == nil {
			i.kinds = make(map[topicKind]*list.List)
		}
		of = list.New()
		i.kinds[kind] = of
	}
	t.idle.kind = of.PushBack(t)
}

// remove takes out t, if it is there.
func (i *idleTopics) remove(t *Topic) {
	if t.idle.all == nil {
		return
	}
	i.all.Remove(t.idle.all)
	if t.idle.kind != nil {
		kind := kindOf(t.key)
		of := i.kinds[kind]
		if of.Remove(t.idle.kind); of.Len() == 0 {
			delete(i.kinds, kind)
		}
	}
	t.idle = idleElements{}
}

// first returns the topic of a kind, or of all, that has been idle for longest; nil:
// there is none.
func (i *idleTopics) first(kind topicKind) *Topic {
	of := &i.all
	if kind != (topicKind{}) {
		of = i.kinds[kind]
	}
	if of == nil || of.Len() == 0 {
		return nil
	}
	return of.Front().Value.(*Topic)
}

// release takes a reader from t, which lingers when it was the last.
func (h *Hub) release(t *Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.readers--
	if t.readers == 0 {
		t.idleSince = h.config.Now()
		h.idle.add(t)
	}
}

// expire closes the topics that nobody has read for Config.TopicLinger.
func (h *Hub) expire() {
	deadline := h.config.Now().Add(-h.config.TopicLinger)
	h.closeIdle(func(t *Topic) bool { return !t.idleSince.After(deadline) })
}

// closeIdle closes idle topics, those first that have been for longest, up to the first
// for which due is false.
func (h *Hub) closeIdle(due func(*Topic) bool) {
	for {
		h.mu.Lock()
		t := h.idle.first(topicKind{})
		if t == nil || !due(t) {
			h.mu.Unlock()
			return
		}
		h.forget(t)
		h.mu.Unlock()
		t.close()
	}
}

// evict closes the topic of a kind, or of all, that has been without readers for
// longest, so that those that only linger keep nobody out, and reports whether there
// was one.
func (h *Hub) evict(kind topicKind) bool {
	h.mu.Lock()
	t := h.idle.first(kind)
	if t != nil {
		h.forget(t)
	}
	h.mu.Unlock()
	if t == nil {
		return false
	}
	t.close()
	return true
}

// forget takes an idle topic out of the hub. Under mu.
func (h *Hub) forget(t *Topic) {
	h.idle.remove(t)
	if !h.strike(t) {
		delete(h.ended, t)
	}
}
