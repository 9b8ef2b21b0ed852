// Tokens for a protected server, of an app by itself.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { commandHint } from "../../../bin/cli/failures.ts";
import { acquireForServer, type ServerNeeds } from "../../../bin/cli/protected_server.ts";
import { readCommandLine } from "../../../bin/cli/command_line.ts";
import { command as token } from "../../../bin/commands/token.ts";
import { parseAuthority } from "../../../lib/authority.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";
import { type Resource, startResource } from "../../fakes/resource.ts";
import { failure } from "../../fixture.ts";

const RESOURCE = "https://mcp.contoso.com/mcp";
/** Another path of the provider's origin, at which an API is. */
const API_PATH = "/api/v2/";
let provider: Resource;
let authorityUrl: string;
beforeAll(async () => {
  provider = await startResource(() => ({
    body: {
      issuer: authorityUrl,
      authorization_endpoint: `${authorityUrl}/authorize`,
      token_endpoint: `${authorityUrl}/token`,
      userinfo_endpoint: `${authorityUrl}/userinfo`,
    },
  }));
  authorityUrl = provider.origin;
});
afterAll(() => provider[Symbol.asyncDispose]());

function needsOf(more: Partial<ServerNeeds> = {}): ServerNeeds {
  return {
    url: new URL(RESOURCE),
    authority: parseAuthority(authorityUrl),
    target: { scopes: ["api.read"], resource: RESOURCE, tenantId: undefined },
    unagreed: [],
    isNamedByUser: false,
    line: readCommandLine(token, ["--client-id", "latchkey-tests", "--authority", authorityUrl]),
    loginScopes: [],
    ...more,
  };
}

/** What comes of a token with these audiences. */
async function send(aud: unknown, more: Partial<ServerNeeds> = {}): Promise<AuthenticationResult> {
  const accessToken = aud === "opaque" ? aud : `e30.${btoa(JSON.stringify({ aud }))}.x`;
  const result = { accessToken, correlationId: "1" } as AuthenticationResult;
  return await acquireForServer(needsOf(more), () => Promise.resolve(result), { mayAsk: false });
}

/** Puts the provider's URL into an audience. */
const ofProvider = (text: string) => text.replace("{provider}", authorityUrl);

// A provider that ignores the resource indicator issued a token that is good at all its services; and, in addition to the server,
// each API below the provider's own origin passed, such as Auth0's for its management.
test.each([
  ["another service's", "https://api.contoso.com", "https://api.contoso.com"],
  ["none", undefined, "undefined"],
  ["an empty list", [], "it names no audience"],
  ["a name", "account", "account"],
  ["the server's and another one's", [RESOURCE, "account"], "account"],
  ["another path of the server", "https://mcp.contoso.com/", "https://mcp.contoso.com/"],
  ["the provider's own", "{provider}/userinfo", "{provider}/userinfo"],
  ["the server's and another API of the provider's", [RESOURCE, `{provider}${API_PATH}`], `{provider}${API_PATH}`],
  ["the server's and one like the issuer", [RESOURCE, "{provider}/"], "{provider}/"],
])("acquireForServer() refuses a token whose audience is %s", async (_what, aud, named) => {
  const audience = Array.isArray(aud) ? aud.map(ofProvider) : aud && ofProvider(aud);
  const error = await failure(send(audience));
  expect([error.code, error.message]).toEqual([
    "untrusted_authority",
    `${authorityUrl} issued a token that is not for mcp.contoso.com: ${ofProvider(named)}`,
  ]);
  expect(commandHint(error)).toBe("Only if you trust mcp.contoso.com with that token, name the scope: --scope");
});

test.each([
  ["the server", RESOURCE],
  ["the server, in a list", [RESOURCE]],
  ["the server, and the provider's claims about the user", [RESOURCE, "{provider}/userinfo"]],
  ["the server, and the issuer", [RESOURCE, "{provider}"]],
  ["in an opaque token", "opaque"],
])("acquireForServer() takes a token whose audience is %s", async (_what, aud) => {
  const audience = Array.isArray(aud) ? aud.map(ofProvider) : aud;
  expect(await send(audience)).toMatchObject({ correlationId: "1" });
});

test("acquireForServer() leaves the audience of scopes that the user named to the user", async () => {
  expect(await send("account", { isNamedByUser: true })).toMatchObject({ correlationId: "1" });
});

test("acquireForServer() requests nothing that the user has not agreed to", async () => {
  const { code, message, hint } = await failure(send(RESOURCE, { unagreed: ["admin"] }));
  expect([code, message]).toEqual([
    "interaction_required",
    `mcp.contoso.com asks ${authorityUrl} for scopes that you have not agreed to: admin`,
  ]);
  expect(hint).toStartWith("Only if you trust mcp.contoso.com with them, sign in at a terminal: latchkey login ");
});
