package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// child is this program, started again for one part. It is told what to do in one JSON value on its input, and every
// line on its output is another. It ends when its input does.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startChild(ctx context.Context, part string, job any) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, part)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the %s process: %w", part, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the %s process: %w", part, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s process: %w", part, err)
	}
	c := &child{cmd: cmd, in: in, out: json.NewDecoder(out)}
	if err := c.tell(job); err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

func (c *child) tell(v any) error {
	if err := json.NewEncoder(c.in).Encode(v); err != nil {
		return fmt.Errorf("tell the process: %w", err)
	}
	return nil
}

func (c *child) hear(v any) error {
	if err := c.out.Decode(v); err != nil {
		return fmt.Errorf("hear from the process: %w", err)
	}
	return nil
}

func (c *child) end() error {
	return errors.Join(c.in.Close(), c.cmd.Wait())
}

// memory reads a value of a process's status in MiB: VmRSS is what it has in memory, VmHWM the most that it had. ok is
// false where the system does not tell.
func memory(pid, name string) (mib float64, ok bool) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		text, found := strings.CutPrefix(line, name+":")
		if !found {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 64)
		return kib / 1024, err == nil
	}
	return 0, false
}
