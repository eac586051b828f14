package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// environment looks up a variable, as os.LookupEnv does.
type environment func(name string) (string, bool)

// expand replaces each ${NAME} by the variable's value, which is not expanded again. $${ stands for the characters ${,
// and a $ before anything else for itself. The errors name variables and never tell values.
func (env environment) expand(text string) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		if !found {
			out.WriteString(text)
			return out.String(), nil
		}
		if literal, escaped := strings.CutSuffix(before, "$"); escaped {
			out.WriteString(literal + "${")
			text = after
			continue
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed || !isVariable(name) {
			return "", errors.New("a ${ is not followed by the name of an environment variable and }: write ${NAME}, or $${ for the characters themselves")
		}
		value, set := env(name)
		if !set {
			return "", fmt.Errorf("the environment variable %s is not set: set it, or write the value here", name)
		}
		out.WriteString(before + value)
		text = rest
	}
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		digit := '0' <= c && c <= '9'
		if !letter && (!digit || i == 0) {
			return false
		}
	}
	return name != ""
}

const (
	filePrefix   = "file:"
	maxFileBytes = 64 << 10
)

// readSecret reads the file of a value written as file:/path: its whole content without one line break at the end. It
// waits for nothing: only a regular file is read. The error does not repeat the path, which may come from the
// environment.
func readSecret(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("is not an absolute path: write " + filePrefix + "/path/to/file")
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return "", unreadable(err)
	}
	if len(content) > maxFileBytes {
		return "", fmt.Errorf("holds more than %d bytes", maxFileBytes)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if text == "" {
		return "", errors.New("is empty")
	}
	return text, nil
}

func unreadable(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
}
