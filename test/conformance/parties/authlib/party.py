"""A relying party on Authlib and Flask, written as their documentation tells.

It logs in whoever opens /EID, and shows what it was told.
"""
import json
import os
import secrets

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, jsonify, url_for

party = json.loads(os.environ["PARTY"])

app = Flask(__name__)
app.secret_key = secrets.token_bytes(32)
oauth = OAuth(app)
oauth.register(
    name="eid",
    client_id=party["id"],
    client_secret=party["secret"],
    server_metadata_url=party["issuer"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": party["scope"], "code_challenge_method": "S256"},
)


@app.route("/<eid>")
def login(eid):
    return oauth.eid.authorize_redirect(url_for("callback", _external=True), acr_values="idp:" + eid)


@app.route("/callback")
def callback():
    token = oauth.eid.authorize_access_token()
    return jsonify(id_token=token["userinfo"], userinfo=oauth.eid.userinfo(token=token))


@app.errorhandler(OAuthError)
def refused(e):
    return jsonify(error=e.error, description=e.description), 401


@app.errorhandler(Exception)
def failed(e):
    return jsonify(error=type(e).__name__, description=str(e)), 500


if __name__ == "__main__":
    host, port = party["self"].removeprefix("http://").split(":")
    app.run(host=host, port=int(port))
