// Package authserver is the authorization server for our own command line: how a program signs in as a person.
//
// On the machine of the person's browser it does so by an authorization code (RFC 8252, RFC 6749 §4.1, RFC 7636):
//
//	program ── listens on 127.0.0.1, opens the browser
//	person  ── GET, POST /authorize ──────▶ signs in, sees who asks for what, allows or denies
//	browser ── the answer on loopback ────▶ code, state, iss (RFC 9207)
//	program ── POST /api/v1/auth/token ───▶ once, for the code and its verifier, a personal access token
//
// Without a browser, as a person who has one somewhere else (RFC 8628):
//
//	program ── POST /api/v1/auth/device ──▶ device code, user code
//	person  ── GET, POST /device ─────────▶ signs in, types the user code, sees who asks for what, allows or denies
//	program ── POST /api/v1/auth/token ───▶ authorization_pending … and once, a personal access token
//
// The person may have been talked into it (RFC 8628 §5.4), so nothing happens by opening a link: the pages name the
// machine and what the program will be able to do, ask whether the person started this themselves, and take the answer
// by a form of their own session. All codes rest as hashes and serve once; those of devices live for ten minutes, an
// authorization code for one.
package authserver

import (
	"context"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
)

// Device is one program that asks to sign in.
type Device struct {
	ID           string
	DeviceHash   string // SHA-256 of the device code, in hex
	UserCodeHash string // SHA-256 of the user code, in hex
	Name         string // what the program says of itself: the name of its machine
	Scopes       []string
	IP           string // where it asks from
	CreatedAt    time.Time
	ExpiresAt    time.Time
	Interval     time.Duration // between two polls; longer after each that came too early
	PolledAt     time.Time
	UserID       string // who decided; empty before
	DecidedAt    time.Time
	Allowed      bool
	TakenAt      time.Time // when the program heard that it is allowed
}

// Devices keeps the programs that ask. authservertest.TestDevices says what each method must do.
type Devices interface {
	// CreateDevice stores d, unless as many as most are waiting already: fault.TooMany. It removes those that ended a
	// day before.
	CreateDevice(ctx context.Context, d Device, most int) error

	// FindDevice returns what waits for this user code at now, or fault.NotFound: one that is decided or over is not
	// found.
	FindDevice(ctx context.Context, userCodeHash string, now time.Time) (Device, error)

	// DecideDevice records what userID decided about the program with this id, once: fault.Gone when it is decided or
	// over.
	DecideDevice(ctx context.Context, id, userID string, allowed bool, now time.Time, e audit.Entry) error

	// PollDevice notes that the program with this device code asks, as Device.Polled says, and returns it as it was
	// before. Of many who poll at once each sees what the one before it did, so that one alone sees an allowed program
	// with TakenAt zero. What changes nothing costs no write. fault.NotFound for an unknown code.
	PollDevice(ctx context.Context, deviceHash string, now time.Time) (Device, error)
}
