package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress tells a person what is being measured: on a terminal in one line that changes, elsewhere in a line for each
// step.
type progress struct {
	out   io.Writer
	began time.Time
	bar   *progressbar.ProgressBar // nil where out is no terminal
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(out), progressbar.OptionClearOnFinish(),
				progressbar.OptionSpinnerType(14), progressbar.OptionSetElapsedTime(true))
		}
	}
	return p
}

// step says what comes next.
func (p *progress) step(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.bar != nil {
		p.bar.Describe(text)
		_ = p.bar.Add(1) // a bar that cannot be drawn is no reason to stop
		return
	}
	fmt.Fprintf(p.out, "%5.1f s  %s\n", time.Since(p.began).Seconds(), text)
}

// note tells what a person must know about the result.
func (p *progress) note(format string, args ...any) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintf(p.out, "note: "+format+"\n", args...)
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
