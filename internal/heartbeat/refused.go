package heartbeat

import (
	"errors"
	"fmt"
	"time"

	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/wire"
)

// refusal is why a message was not taken.
type refusal uint8

const (
	wrongKey refusal = iota
	otherCluster
	otherVersion
	malformed
	otherSettings
	unlisted
	wrongAddress
	ownID
	duplicateID
	stale
	refusals
)

// refusalNames are for status and metrics.
var refusalNames = [refusals]string{
	"wrong_key", "other_cluster", "other_version", "malformed", "other_settings",
	"unlisted", "wrong_address", "own_id", "duplicate_id", "stale",
}

// refusalWords go on with what to do; %s is the sender.
var refusalWords = [refusals]string{
	wrongKey:      "%s sends with another key, or somebody pretends to: have one `key` on all nodes",
	otherCluster:  "%s sends for another cluster of the same addresses: have one name in all files",
	otherVersion:  "%s sends in a form that this version does not know: upgrade the older one",
	malformed:     "%s sends what is no message of a node",
	otherSettings: "%s has other settings, and is not listened to: %s",
	unlisted:      "%s is not among the nodes of this node's file",
	wrongAddress:  "%s sends with the id of another node: each node has addresses and an id of its own, the same in all files",
	ownID:         "%s uses the id of this node: two hosts with one id, or one file with the wrong `node`",
	duplicateID:   "%s uses the id of another node that is alive: two hosts with one id",
	stale:         "",
}

const againAfter = time.Minute

// refused counts messages that were not taken, and says when to log: the first
// of its kind, then once a minute with how many there were.
type refused struct {
	count  [refusals]uint64
	told   [refusals]uint64
	toldAt [refusals]time.Duration
	last   [refusals]struct {
		at   time.Duration
		text string // as last told
	}
}

// add returns true where it is time to log.
func (r *refused) add(now time.Duration, why refusal) bool {
	r.count[why]++
	r.last[why].at = now
	return refusalWords[why] != "" && (r.told[why] == 0 || now-r.toldAt[why] >= againAfter)
}

// line returns what to log where add has returned true; args go into the
// words.
func (r *refused) line(now time.Duration, why refusal, args ...any) string {
	text := fmt.Sprintf(refusalWords[why], args...)
	r.last[why].text = text
	if since := r.count[why] - r.told[why]; since > 1 {
		text += fmt.Sprintf(" (%d messages in %s)", since, (now - r.toldAt[why]).Round(time.Second))
	}
	r.told[why], r.toldAt[why] = r.count[why], now
	return text
}

// recent reports whether one came in the last seconds.
func (r *refused) recent(now time.Duration, why refusal) bool {
	return r.count[why] > 0 && now-r.last[why].at < 5*time.Second
}

// byName returns the counts that are not 0.
func (r *refused) byName() map[string]uint64 {
	all := make(map[string]uint64)
	for i, n := range r.count {
		if n > 0 {
			all[refusalNames[i]] = n
		}
	}
	return all
}

// decodeRefusal says why a frame was not read.
func decodeRefusal(err error) refusal {
	switch {
	case errors.Is(err, wire.ErrKey):
		return wrongKey
	case errors.Is(err, wire.ErrCluster):
		return otherCluster
	case errors.Is(err, wire.ErrVersion):
		return otherVersion
	}
	return malformed
}

// verdictRefusal says why a message was not taken; false: it was, or is no
// matter.
func verdictRefusal(v member.Verdict) (refusal, bool) {
	switch v {
	case member.Unlisted:
		return unlisted, true
	case member.OwnID:
		return ownID, true
	case member.DuplicateID:
		return duplicateID, true
	case member.Different:
		return otherSettings, true
	case member.Stale:
		return stale, true
	}
	return 0, false
}
