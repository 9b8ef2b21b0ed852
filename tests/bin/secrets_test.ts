// No secret that a broker or a provider gave out, or was given, stands on standard error, however much is to be said there,
// and none in a file but where it was asked for by name.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Reply } from "../fakes/behaviour.ts";
import { CLIENT_ID, type Home, openHome, useStage } from "../fixture.ts";
import { startProviderStage } from "./provider_stage.ts";
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

const stage = useStage({ broker: {} });

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
  await stage.behave({ replies });
  const words = command.split(" ").map((word) => word.replace("\u00a0", " "));
  const env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
  const { stderr } = await runLatchkey([...words, "--client-id", CLIENT_ID, "-vv"], { env });
  expect(stderr).toMatch(/ debug \w+ was answered /);

  const secrets = [await stage.broker.replies(), await stage.broker.calls()].flatMap(secretsIn);
  expect(secrets).not.toEqual([]);
  // The hint of a challenge is the sign-in that answers it, which has the challenge's claims.
  const lines = stderr.split("\n"), hint = lines.filter((line) => line.startsWith("hint: ")).join();
  const rest = lines.filter((line) => !line.startsWith("hint: ")).join("\n");
  expect(secrets.filter((secret) => rest.includes(secret))).toEqual([]);
  expect(secrets.filter((secret) => hint.includes(secret) && !REFUSED_CLAIMS.includes(secret))).toEqual([]);
});

/** Secrets of a token cache of MSAL's. */
function secretsOf(path: string): string[] {
  const { AccessToken, RefreshToken, IdToken } = JSON.parse(readFileSync(path, "utf8"));
  return [AccessToken, RefreshToken, IdToken].flatMap((section) => Object.values<{ secret: string }>(section))
    .flatMap(({ secret }) => [secret, ...secret.split(".")]).filter((secret) => secret.length >= MIN_LENGTH);
}

/** All that is written in a home. */
function textsIn({ path }: Home): string {
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
  return files.map((file) => readFileSync(join(file.parentPath, file.name), "latin1")).join("\n");
}

test(
  "latchkey -vv without a broker tells no secret, and writes none that is not sealed",
  async () => {
    await using provider = await startProviderStage();
    using home = openHome();
    const shared = join(provider.folder, "cache.json");
    const run = (line: string, words = provider.appWordsOf(line)) => provider.latchkey([...words, "-vv"], { home });
    const outputs = [], secrets = new Set<string>();
    for (const [profile, place] of [["work", ""], ["shared", ` --cache-file ${shared}`]] as const) {
      outputs.push(await run(`login --profile ${profile} --scope api.read${place}`));
      for (const line of ["token --scope api.read", "token --scope api.read --force-refresh"]) {
        const { stdout, stderr, code } = await run(`${line} --interactive never${place}`);
        expect({ code, stderr }).toMatchObject({ code: 0 });
        secrets.add(stdout.trim());
        outputs.push({ stdout: "", stderr });
        if (place !== "") { for (const secret of secretsOf(shared)) secrets.add(secret); }
      }
      outputs.push(await run(`doctor --broker never${place}`), await run(`accounts${place}`));
      if (place === "") secrets.add(JSON.parse(readFileSync(`${home.state}/key.json`, "utf8")).key);
      outputs.push(await run(`logout${place}`));
    }
    expect(secrets.size).toBeGreaterThan(5);
    const told = outputs.map(({ stdout, stderr }) => stdout + stderr).join("\n");
    expect([...secrets].filter((secret) => told.includes(secret))).toEqual([]);

    const key = JSON.parse(readFileSync(`${home.state}/key.json`, "utf8")).key, written = textsIn(home);
    expect(written).toContain("latchkey-tests"); // the profile
    expect([...secrets].filter((secret) => secret !== key && written.includes(secret))).toEqual([]);
  },
  60_000,
);
