package store

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/internal/keyring"
)

// keyringSetting holds the server's keys: JSON of a keyring.Ring. Like the secret
// of the page's sessions it lies there as it is: whoever reads the database can
// tell hosts anything as it is, but not make them run what no release key signed.
const keyringSetting = "keyring"

// Keyring is the server's keys and the list that was published.
func (r Reader) Keyring(ctx context.Context) (ring keyring.Ring, err error) {
	return ring, r.jsonSetting(ctx, keyringSetting, &ring)
}

// KeyringChange is what the audit log says of a change of the keys.
type KeyringChange struct {
	Action string // create, rotate, publish, delete
	Key    string // id, or "list"
	After  any    // without private parts
}

// PutKeyring keeps the server's keys.
func (tx *Tx) PutKeyring(ctx context.Context, ring keyring.Ring, c KeyringChange) error {
	if err := putSetting(ctx, tx.q, keyringSetting, ring); err != nil {
		return err
	}
	return tx.recordChange(c.Action, "key", c.Key, nil, c.After)
}

// RaiseSerial gives the write a serial above one that a host was told, though
// this database does not know of it. It does nothing when it has one already.
func (tx *Tx) RaiseSerial(ctx context.Context, above int64) error {
	if above < tx.serial {
		return nil
	}
	before := tx.serial - 1
	if err := tx.raiseSerial(ctx, above); err != nil {
		return err
	}
	return tx.recordChange("raise", "server", "serial", map[string]int64{"serial": before}, map[string]int64{"serial": tx.serial})
}
