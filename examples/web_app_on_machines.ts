// A web app on many machines, each served by Bun, with the tokens in one Redis server:
// web_app_on_machines.ts CLIENT_ID AUTHORITY SCOPE…
// REDIS_URL (rediss://user:password@host:6380) and SECRET are in the environment, the same on all machines. From a clone, run it
// with bun --conditions latchkey-source. The app registration must have ORIGIN/signed-in as a redirect URI.
// deno-lint-ignore-file no-console -- an example prints
import { redisStore } from "@latchkey/latchkey/redis";
import { WebApplication } from "@latchkey/latchkey/web";
import { RedisClient } from "bun";
import { signInPages } from "./sign_in_pages.ts";

const [clientId = "", authority = "", ...scopes] = process.argv.slice(2);
if (!clientId || scopes.length === 0) throw new Error("web_app_on_machines.ts CLIENT_ID AUTHORITY SCOPE…");
const { REDIS_URL, SECRET: secret, ORIGIN: origin, PORT = "0" } = process.env;
if (!REDIS_URL || !secret) throw new Error("REDIS_URL and SECRET are missing in the environment");

const redis = new RedisClient(REDIS_URL);
const cache = redisStore({ sendCommand: ([name, ...words]) => redis.send(name, words) });
const app = new WebApplication({ clientId, authority, cache });

const server = Bun.serve({
  hostname: "localhost",
  port: Number(PORT),
  fetch: (request) => signInPages(request, { app, scopes, secret, origin: origin || undefined }),
});
console.log(server.url.origin);
