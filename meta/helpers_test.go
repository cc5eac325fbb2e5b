package meta_test

import (
	"bufio"
	"encoding/pem"
	"io"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func bufioReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func emptyIsNil() cmp.Option { return cmpopts.EquateEmpty() }
