package agent

import "log/slog"

// noter logs what is tried again and again.
type noter struct {
	log    *slog.Logger
	failed map[string]string // what was logged last of each act, so that it is logged once
}

func newNoter(log *slog.Logger) noter { return noter{log, map[string]string{}} }

// note logs what goes wrong, once, and reports whether it went well.
func (n *noter) note(act string, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != n.failed[act] {
		if n.failed[act] = text; text != "" {
			n.log.Error("could not "+act, "error", err)
		}
	}
	return err == nil
}
