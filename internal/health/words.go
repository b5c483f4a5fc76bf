package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"
)

// maxWords is how many bytes of what a service said are told on.
const maxWords = 160

// words says in one line why a check failed.
func words(err error, timeout time.Duration) string {
	var slow net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &slow) && slow.Timeout() {
		return fmt.Sprintf("no answer within %s", timeout)
	}
	// What was asked and where is said already.
	for {
		var request *url.Error
		var operation *net.OpError
		var file *fs.PathError
		var call *os.SyscallError
		switch {
		case errors.As(err, &request):
			err = request.Err
		case errors.As(err, &operation):
			err = operation.Err
		case errors.As(err, &file):
			err = file.Err
		case errors.As(err, &call):
			err = call.Err
		default:
			return oneLine(err.Error())
		}
	}
}

// oneLine makes a text of others fit for a log.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "") + "…"
	}
	return s
}
