package gooidc

import (
	"context"
	"errors"

	"golang.org/x/oauth2"
)

// finish redeems a code, and is what both tokens tell.
func (p *Party) finish(ctx context.Context, code, verifier, nonce string) (map[string]any, error) {
	token, err := p.config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, err
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("no id_token")
	}
	id, err := p.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if id.Nonce != nonce {
		return nil, errors.New("nonce did not match")
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		return nil, err
	}
	user, err := p.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, err
	}
	var told, info map[string]any
	if err := errors.Join(id.Claims(&told), user.Claims(&info)); err != nil {
		return nil, err
	}
	return map[string]any{"id_token": told, "userinfo": info}, nil
}
