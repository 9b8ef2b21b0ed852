// Tokens for a protected server, of an app by itself.
import { expect, test } from "bun:test";
import { acquireForServer, type ServerNeeds } from "../../../bin/cli/protected_server.ts";
import { readCommandLine } from "../../../bin/cli/command_line.ts";
import { command as token } from "../../../bin/token.ts";
import { parseAuthority } from "../../../lib/authority.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";
import { failureOf } from "../../tools/failure_of.ts";

const AUTHORITY = "https://id.contoso.com", RESOURCE = "https://mcp.contoso.com/mcp";

function needsOf(more: Partial<ServerNeeds> = {}): ServerNeeds {
  return {
    url: new URL(RESOURCE),
    authority: parseAuthority(AUTHORITY),
    target: { scopes: ["api.read"], resource: RESOURCE, tenantId: undefined },
    unagreed: [],
    isNamedByUser: false,
    line: readCommandLine(token, ["--client-id", "latchkey-tests", "--authority", AUTHORITY]),
    loginScopes: [],
    ...more,
  };
}

/** What comes of a token with these audiences. */
async function send(aud: unknown, more: Partial<ServerNeeds> = {}): Promise<AuthenticationResult> {
  const accessToken = aud === "opaque" ? aud : `e30.${btoa(JSON.stringify({ aud }))}.x`;
  const result = { accessToken, correlationId: "1" } as AuthenticationResult;
  return await acquireForServer(needsOf(more), () => Promise.resolve(result), { mayPrompt: false });
}

// A provider that ignores the resource indicator issued a token that is good at all its services.
test.each([
  ["another service's", "https://api.contoso.com", "https://api.contoso.com"],
  ["none", undefined, "undefined"],
  ["a name", "account", "account"],
  ["the server's and another one's", [RESOURCE, "account"], "account"],
  ["another path of the server", "https://mcp.contoso.com/", "https://mcp.contoso.com/"],
  ["the provider's own", `${AUTHORITY}/userinfo`, "the provider itself"],
])("acquireForServer() refuses a token whose audience is %s", async (_what, aud, named) => {
  const { code, message, hint } = await failureOf(send(aud));
  expect([code, message]).toEqual([
    "untrusted_authority",
    `${AUTHORITY} issued a token that is not for mcp.contoso.com: ${named}`,
  ]);
  expect(hint).toBe("Only if you trust mcp.contoso.com with that token, name the scope: --scope");
});

test.each([
  ["the server", RESOURCE],
  ["the server, in a list", [RESOURCE]],
  ["the server, and the provider's claims about the user", [RESOURCE, `${AUTHORITY}/userinfo`]],
  ["nobody knows whose", "opaque"],
])("acquireForServer() takes a token whose audience is %s", async (_what, aud) => {
  expect(await send(aud)).toMatchObject({ correlationId: "1" });
});

test("acquireForServer() leaves the audience of scopes that the user named to the user", async () => {
  expect(await send("account", { isNamedByUser: true })).toMatchObject({ correlationId: "1" });
});

test("acquireForServer() requests nothing that the user has not agreed to", async () => {
  const { code, message, hint } = await failureOf(send(RESOURCE, { unagreed: ["admin"] }));
  expect([code, message]).toEqual([
    "interaction_required",
    `mcp.contoso.com asks ${AUTHORITY} for scopes that you have not agreed to: admin`,
  ]);
  expect(hint).toStartWith("Only if you trust mcp.contoso.com with them, sign in at a terminal: latchkey login ");
});
