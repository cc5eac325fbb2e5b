package config

import (
	"encoding/json"
	"path/filepath"
)

// FindVarDir is the var directory that the file at path names. Nothing else is read,
// so that it is found also where only a newer version understands the file; empty
// when it cannot be.
func FindVarDir(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	data, err := readFile(abs)
	keys := struct {
		VarDir string `json:"var_dir"`
	}{}
	if err != nil || json.Unmarshal(data, &keys) != nil {
		return ""
	}
	if keys.VarDir == "" {
		keys.VarDir = Default().VarDir
	}
	if !filepath.IsAbs(keys.VarDir) {
		keys.VarDir = filepath.Join(filepath.Dir(abs), keys.VarDir)
	}
	return filepath.Clean(keys.VarDir)
}
