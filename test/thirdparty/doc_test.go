// Package thirdparty lets programs that none of us wrote use the sandbox, and
// judge what we judge: what they and we understand alike is not merely our own
// reading of a protocol.
package thirdparty
