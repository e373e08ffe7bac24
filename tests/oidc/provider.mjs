// A real OpenID Connect provider (oidc-provider) for tests: node provider.mjs PORT REDIRECT_URI
//
// Whoever comes is who the form says. POST /test/rotate gives it new keys; POST /test/answers says how it misbehaves from
// then on: {claims, header, key: "own" | "foreign" | "none" | "secret"} for ID tokens, {delay_ms}, {large}, {status}.

import { createServer } from "node:http";
import { createSecretKey, randomUUID } from "node:crypto";
import { decodeJwt, exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import Provider from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const secret = "siri ya mteja: 100%/+&";
const people = new Map();
let answers = {};
let keys, handler;

const newKeys = async () => {
  const pair = await generateKeyPair("RS256", { extractable: true });
  return { ...pair, kid: randomUUID() };
};

const signed = (claims, header) => {
  const { key = "own" } = answers;
  if (key === "none") return new UnsecuredJWT(claims).encode();
  if (key === "secret") return new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(createSecretKey(Buffer.from(secret)));
  const signer = key === "own" ? keys.privateKey : answers.foreign.privateKey;
  return new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: keys.kid, ...header }).sign(signer);
};

const start = async () => {
  keys = await newKeys();
  const jwk = { ...(await exportJWK(keys.privateKey)), kid: keys.kid, alg: "RS256", use: "sig" };
  const provider = new Provider(issuer, {
    jwks: { keys: [jwk] },
    clients: [{ client_id: "mbashara", client_secret: secret, redirect_uris: [redirectUri] }],
    pkce: { required: () => true },
    claims: { openid: ["sub", "amr", "acr"], email: ["email", "email_verified"] },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...people.get(id) }) }),
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope("openid email");
      await grant.save();
      return grant;
    },
    cookies: { keys: ["for tests"] },
    ttl: { IdToken: 300, AccessToken: 300, AuthorizationCode: 60, Interaction: 300, Session: 300, Grant: 300 },
  });
  provider.use(async (ctx, next) => {
    if (answers.delay_ms && ctx.path === "/token") await new Promise((done) => setTimeout(done, answers.delay_ms));
    await next();
    if (ctx.path === "/token" && ctx.body?.id_token && (answers.claims || answers.header || answers.key)) {
      ctx.body.id_token = await signed({ ...decodeJwt(ctx.body.id_token), ...answers.claims }, answers.header);
    }
    if (ctx.path === "/token" && answers.large) ctx.body = { ...ctx.body, large: "x".repeat(answers.large) };
    if (ctx.path === "/token" && answers.status) ctx.status = answers.status;
  });
  const koa = provider.callback();
  handler = (request, response) => (request.url.startsWith("/interaction/") ? interact(provider, request, response) : koa(request, response));
};

const read = async (request) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  return body;
};

const interact = async (provider, request, response) => {
  if (request.method !== "POST") {
    await provider.interactionDetails(request, response);
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>IdP</title><form method="post">
      <input name="login"><input name="email"><input name="verified" value="true"><input name="amr"><button>OK</button></form>`);
    return;
  }
  const form = new URLSearchParams(await read(request));
  if (form.get("login") === "") {
    await provider.interactionFinished(request, response, { error: "access_denied" }, { mergeWithLastSubmission: false });
    return;
  }
  const accountId = form.get("login");
  people.set(accountId, { email: form.get("email"), email_verified: JSON.parse(form.get("verified")) });
  const amr = (form.get("amr") || "").split(" ").filter(Boolean);
  await provider.interactionFinished(request, response, { login: { accountId, ...(amr.length ? { amr } : {}) } }, { mergeWithLastSubmission: false });
};

const test = async (request, response) => {
  if (request.url === "/test/rotate") await start();
  else {
    answers = JSON.parse(await read(request));
    if (answers.key === "foreign") answers.foreign = await newKeys();
  }
  response.end("ok");
};

await start();
const serve = (request, response) =>
  (request.url.startsWith("/test/") ? test : handler)(request, response)?.catch?.((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end(String(error));
  });
createServer(serve).listen(Number(port), "127.0.0.1", () => console.log("ready"));
