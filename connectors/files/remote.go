package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/truestock/truestock/connectors"
)

// remote is a folder behind SFTP. One connection is kept, and made anew when it breaks.
type remote struct {
	address string
	root    string
	config  *ssh.ClientConfig
	timeout time.Duration

	mu     sync.Mutex
	ssh    *ssh.Client
	client *sftp.Client
	closed bool
}

func newRemote(env connectors.Env, u *url.URL, s connectors.Settings) (*remote, error) {
	var auth []ssh.AuthMethod
	switch {
	case s[settingPassword] != "" && s[settingKey] != "":
		return nil, fmt.Errorf("%s and %s are both set: set one", settingPassword, settingKey)
	case s[settingKey] != "":
		signer, err := ssh.ParsePrivateKey([]byte(s[settingKey]))
		if err != nil {
			return nil, fmt.Errorf("%s is no private key without a passphrase in the form of OpenSSH", settingKey)
		}
		auth = append(auth, ssh.PublicKeys(signer))
	case s[settingPassword] != "":
		auth = append(auth, ssh.Password(s[settingPassword]))
	default:
		return nil, fmt.Errorf("no credentials for %s: set %s or %s", u.Host, settingPassword, settingKey)
	}
	if s[settingHostKey] == "" {
		return nil, fmt.Errorf("%s is empty: write the server's public key, as from: ssh-keyscan %s", settingHostKey, u.Hostname())
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s[settingHostKey]))
	if err != nil {
		return nil, fmt.Errorf("%s is no public key: write it as in known_hosts behind the host, such as ssh-ed25519 AAAA…", settingHostKey)
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	timeout := env.Timeout
	if timeout == 0 {
		timeout = connectors.DefaultTimeout
	}
	return &remote{
		address: net.JoinHostPort(u.Hostname(), port),
		root:    path.Join("/", u.Path),
		timeout: timeout,
		config: &ssh.ClientConfig{User: u.User.Username(), Auth: auth, HostKeyCallback: ssh.FixedHostKey(host),
			HostKeyAlgorithms: []string{host.Type()}, Timeout: timeout},
	}, nil
}

// with does something on the connection, within the time. A connection that fails is given up; the next call makes
// another. The protocol has no way to take back what was begun, so a call that takes too long ends with its connection.
func (r *remote) with(ctx context.Context, do func(c *sftp.Client) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if err := r.connect(ctx); err != nil {
		return err
	}
	broken := context.AfterFunc(ctx, r.give)
	err := do(r.client)
	if !broken() {
		r.ssh, r.client = nil, nil
		return fmt.Errorf("no answer in time: %w", errors.Join(ctx.Err(), err))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errRefused) {
		r.give()
		r.ssh, r.client = nil, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w; give the account the right to read and write there", errAuth, err)
	}
	return err
}

// give ends the connection.
func (r *remote) give() {
	if r.client != nil {
		// The line first: the other way round, the client waits for the server's farewell.
		_ = r.ssh.Close()
		_ = r.client.Close()
	}
}

func (r *remote) connect(ctx context.Context) error {
	switch {
	case r.closed:
		return fmt.Errorf("%w: the connection is closed", errNotReached)
	case r.client != nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", errNotReached, ctx.Err())
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotReached, err)
	}
	if err := conn.SetDeadline(time.Now().Add(r.timeout)); err != nil {
		return errors.Join(errNotReached, err, conn.Close())
	}
	c, channels, requests, err := ssh.NewClientConn(conn, r.address, r.config)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %s: %w", r.refusal(err), r.address, err), conn.Close())
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return errors.Join(errNotReached, err, conn.Close())
	}
	r.ssh = ssh.NewClient(c, channels, requests)
	if r.client, err = sftp.NewClient(r.ssh); err != nil {
		err = errors.Join(fmt.Errorf("%w: the server offers no SFTP: %w", errNotReached, err), r.ssh.Close())
		r.ssh, r.client = nil, nil
	}
	return err
}

// refusal tells whether the server, or its key, or our credentials are the reason for a connection that was not made.
// The library knows credentials that were refused, and a key that is not the one given, by their texts alone.
func (r *remote) refusal(err error) error {
	text := err.Error()
	if strings.Contains(text, "unable to authenticate") || strings.Contains(text, "host key mismatch") {
		return errAuth
	}
	return errNotReached
}

func (r *remote) path(name string) string { return path.Join(r.root, name) }

func (r *remote) list(ctx context.Context, dir string) ([]file, error) {
	var files []file
	err := r.with(ctx, func(c *sftp.Client) error {
		if err := reachableFolder(c, r.root); err != nil {
			return err
		}
		if err := c.MkdirAll(r.path(dir)); err != nil {
			return err
		}
		entries, err := c.ReadDir(r.path(dir))
		for _, e := range entries {
			if e.Mode().IsRegular() {
				files = append(files, file{e.Name(), e.Size(), e.ModTime()})
			}
		}
		return err
	})
	return files, err
}

// reachableFolder keeps a folder that is not there from being made anew, and empty.
func reachableFolder(c *sftp.Client, root string) error {
	info, err := c.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no folder %s at the server", errRefused, root)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%w: %s is not a folder", errRefused, root)
	}
	return nil
}

func (r *remote) read(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := r.with(ctx, func(c *sftp.Client) error {
		f, err := c.Open(r.path(name))
		if err != nil {
			return err
		}
		data, err = readWhole(f)
		return errors.Join(err, f.Close())
	})
	return data, err
}

func (r *remote) write(ctx context.Context, name string, data []byte) error {
	return r.with(ctx, func(c *sftp.Client) error {
		target := r.path(name)
		if err := reachableFolder(c, r.root); err != nil {
			return fmt.Errorf("%w: %w", errNotReached, err)
		}
		if err := c.MkdirAll(path.Dir(target)); err != nil {
			return fmt.Errorf("%w: %w", errNotReached, err)
		}
		part := path.Join(path.Dir(target), "."+path.Base(target)+".part")
		f, err := c.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		if err != nil {
			return fmt.Errorf("%w: %w", errNotReached, err)
		}
		_, err = f.Write(data)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%w: %w", errNotReached, err)
		}
		return c.PosixRename(part, target)
	})
}

func (r *remote) move(ctx context.Context, from, to string) error {
	return r.with(ctx, func(c *sftp.Client) error {
		if err := c.MkdirAll(path.Dir(r.path(to))); err != nil {
			return err
		}
		return c.PosixRename(r.path(from), r.path(to))
	})
}

func (r *remote) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.give()
	r.ssh, r.client, r.closed = nil, nil, true
	return nil
}
