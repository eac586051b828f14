package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// loadPart is the process that sends signed webhooks as fast as they are answered. It is a process of its own so that
// its garbage and its goroutines are not the server's.
const loadPart = "load"

// loadJob is what the load process is told first. It prepares and signs all requests, says that it is ready, and sends
// them when it is told an address.
type loadJob struct {
	Secret      string
	Prefix      string // of the ids, so that no two jobs share one
	Requests    int
	Connections int
	Items       int
}

// loadResult is what became of the requests.
type loadResult struct {
	Accepted int
	Seconds  float64
	// Problem is the first answer that was not 202.
	Problem string
}

func runLoad(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	in, out := json.NewDecoder(stdin), json.NewEncoder(stdout)
	var job loadJob
	if err := in.Decode(&job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	requests, err := signedRequests(job)
	if err != nil {
		return err
	}
	if err := out.Encode(true); err != nil {
		return err
	}
	var address string
	if err := in.Decode(&address); err != nil {
		return fmt.Errorf("read the address: %w", err)
	}
	result, err := flood(ctx, address, requests, job.Connections)
	if err != nil {
		return err
	}
	return out.Encode(result)
}

// signedRequests makes one request for each order.
func signedRequests(job loadJob) ([][]byte, error) {
	signer, err := standardwebhooks.NewWebhook(job.Secret)
	if err != nil {
		return nil, fmt.Errorf("use the secret: %w", err)
	}
	now := time.Now()
	requests := make([][]byte, job.Requests)
	for i := range requests {
		id := fmt.Sprintf("%s-%d", job.Prefix, i)
		body, err := orderBody(id, now, itemName(i%job.Items), itemName((i+1)%job.Items))
		if err != nil {
			return nil, err
		}
		signature, err := signer.Sign(id, now, body)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		requests[i] = fmt.Appendf(nil, "POST /webhooks/%s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"+
			"webhook-id: %s\r\nwebhook-timestamp: %d\r\nwebhook-signature: %s\r\nContent-Length: %d\r\n\r\n%s",
			shopA, id, now.Unix(), signature, len(body), body)
	}
	return requests, nil
}

// flood sends the requests over so many connections, each waiting for one answer before it sends the next request.
func flood(ctx context.Context, address string, requests [][]byte, connections int) (loadResult, error) {
	conns := make([]net.Conn, connections)
	for i := range conns {
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return loadResult{}, fmt.Errorf("connect: %w", err)
		}
		defer c.Close()
		conns[i] = c
	}
	var next, accepted atomic.Int64
	var group sync.WaitGroup
	problems := make([]error, connections)
	began := time.Now()
	for i, c := range conns {
		group.Go(func() {
			answers := bufio.NewReaderSize(c, 4096)
			for {
				n := int(next.Add(1)) - 1
				if n >= len(requests) || ctx.Err() != nil {
					return
				}
				if problems[i] = exchange(c, answers, requests[n]); problems[i] != nil {
					return
				}
				accepted.Add(1)
			}
		})
	}
	group.Wait()
	result := loadResult{Accepted: int(accepted.Load()), Seconds: time.Since(began).Seconds()}
	if err := cmp.Or(problems...); err != nil {
		result.Problem = err.Error()
	}
	return result, ctx.Err()
}

var contentLength = []byte("Content-Length: ")

// exchange sends one request and reads its answer, which must be 202.
func exchange(c net.Conn, answers *bufio.Reader, request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	status, err := answers.ReadSlice('\n')
	if err != nil {
		return err
	}
	accepted := bytes.HasPrefix(status, []byte("HTTP/1.1 "+strconv.Itoa(http.StatusAccepted)+" "))
	text := string(status)
	length := 0
	for {
		line, err := answers.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(line, contentLength); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return fmt.Errorf("read an answer: %w", err)
			}
		}
	}
	if _, err := answers.Discard(length); err != nil {
		return err
	}
	if !accepted {
		return fmt.Errorf("an answer was not 202 but %q", text)
	}
	return nil
}
