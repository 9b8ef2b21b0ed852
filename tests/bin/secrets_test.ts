// No secret that a broker gave out, or was given, stands on standard error, however much is to be said there.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Reply } from "../fakes/behaviour.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { CLIENT_ID } from "../fakes/use_fake_broker.ts";
import { runLatchkey } from "./run_latchkey.ts";

/** Keys of JSON whose text is one. */
const SECRET_KEYS = [
  ...["accessToken", "accessTokenToRenew", "idToken", "cookieContent", "signedHttpRequest", "clientInfo"],
  ...["claims", "decodedClaims"],
];
/** Shorter texts, such as a JWT's header, are no secret and are met by chance. */
const MIN_LENGTH = 24;

/** A challenge to answer, and one that a refusal comes with. */
const ASKED_CLAIMS = '{"access_token":{"acrs":{"essential":true,"value":"asked-claim-value-000001"}}}';
const REFUSED_CLAIMS = '{"access_token":{"capolids":{"essential":true,"values":["refused-claim-value-0001"]}}}';
const REFUSAL: Reply = {
  kind: "text",
  text: JSON.stringify({
    brokerTokenResponse: { error: { status: 2, context: "AADSTS50076", claims: REFUSED_CLAIMS } },
  }),
};

let bus: PrivateBus;
let broker: FakeBroker;

beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus);
});
afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

/** What is secret in a value of JSON: texts of those keys, the parts of a JWT, and the claims in it. */
function secretsIn(value: unknown): string[] {
  if (typeof value === "string" && value.startsWith("{")) return secretsIn(JSON.parse(value));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    if (!SECRET_KEYS.includes(key) || typeof inner !== "string") return secretsIn(inner);
    return [inner, ...inner.split("."), ...claimsIn(inner)].filter((secret) => secret.length >= MIN_LENGTH);
  });
}

/** Texts of the claims of a JWT or a challenge, but for what everyone knows: whose token, from where, for which app. */
function claimsIn(text: string): string[] {
  const json = text.startsWith("{") ? text : Buffer.from(text.split(".")[1] ?? "", "base64url").toString();
  if (!json.startsWith("{")) return [];
  const strings = (value: unknown): string[] =>
    typeof value === "string"
      ? [value]
      : typeof value === "object" && value
      ? Object.values(value).flatMap(strings)
      : [];
  return strings(JSON.parse(json)).filter((claim) => claim !== CLIENT_ID && !claim.startsWith("https://"));
}

test.each<[string, Record<string, Reply>]>([
  ["accounts", {}],
  ["token --scope a", {}],
  ["token --scope a --force-refresh", {}],
  ["token --scope a --min-ttl 86400", {}],
  [`token --scope a --claims ${ASKED_CLAIMS}`, {}],
  ["token --scope a --pop GET\u00a0https://api.contoso.com/", {}],
  ["token --scope a", { acquireTokenSilently: REFUSAL }],
  ["token --scope a --interactive always", {}],
  [`login --scope a --claims ${ASKED_CLAIMS}`, { acquireTokenSilently: REFUSAL }],
  ["login --scope a --prompt login", { acquireTokenInteractively: REFUSAL }],
  ["cookie", {}],
  ["sign --url https://api.contoso.com/", {}],
  ["logout --from-broker", {}],
])("latchkey %s -vv tells no secret", async (command, replies) => {
  await broker.behave({ replies });
  const words = command.split(" ").map((word) => word.replace("\u00a0", " "));
  const env = { DBUS_SESSION_BUS_ADDRESS: bus.address };
  const { stderr } = await runLatchkey([...words, "--client-id", CLIENT_ID, "-vv"], { env });
  expect(stderr).toMatch(/ debug \w+ was answered /);

  const secrets = [await broker.replies(), await broker.calls()].flatMap(secretsIn);
  expect(secrets).not.toEqual([]);
  expect(secrets.filter((secret) => stderr.includes(secret))).toEqual([]);
});
