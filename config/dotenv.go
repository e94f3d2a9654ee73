package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// maxDotenv bounds a .env file, in bytes.
const maxDotenv = 1 << 20

// dotenv adds the variables of a .env file, if it is there, that the environment does not have, as Cube does.
func (l *loader) dotenv(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the variables of %s: %w", path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxDotenv+1))
	if err != nil {
		return fmt.Errorf("read the variables of %s: %w", path, err)
	}
	if len(text) > maxDotenv {
		return fmt.Errorf("%s is larger than %d KiB", path, maxDotenv>>10)
	}
	for name, value := range parseDotenv(string(text)) {
		if _, set := l.env[name]; !set {
			l.env[name] = value
		}
	}
	return nil
}

// dotenvLine is a line of the npm package dotenv: NAME=value or NAME: value, perhaps after export; a value in quotes may
// have several lines, one without ends before " #".
var dotenvLine = regexp.MustCompile("(?m)^[ \\t]*(?:export[ \\t]+)?([\\w.-]+)(?:[ \\t]*=[ \\t]*|:[ \\t]+)" +
	"('(?:\\\\'|[^'])*'|\"(?:\\\\\"|[^\"])*\"|`(?:\\\\`|[^`])*`|[^#\\n]*)[ \\t]*(?:#.*)?$")

// parseDotenv reads the text of a .env file. A name that is given twice has its last value.
func parseDotenv(text string) map[string]string {
	env := map[string]string{}
	for _, m := range dotenvLine.FindAllStringSubmatch(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"), -1) {
		value := strings.TrimSpace(m[2])
		if n := len(value); n > 1 && strings.ContainsRune("'\"`", rune(value[0])) && value[n-1] == value[0] {
			quote := value[0]
			if value = value[1 : n-1]; quote == '"' {
				value = strings.NewReplacer(`\n`, "\n", `\r`, "\r").Replace(value)
			}
		}
		env[m[1]] = value
	}
	return env
}
