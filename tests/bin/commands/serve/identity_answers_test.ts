// What a managed-identity endpoint answers, by itself.
import { expect, test } from "bun:test";
import { identityAnswers } from "../../../../bin/commands/serve/endpoint.ts";

test("identityAnswers() names what is not handed out as a shell takes it", async () => {
  const answer = identityAnswers({
    clientId: "11111111-2222-4333-8444-555555555555",
    scopes: new Set(["User.Read"]),
    identities: new Set(),
    acquire: () => expect.unreachable(),
    onOutcome: () => expect.unreachable(),
  });
  const query = `?api-version=2019-08-01&resource=${encodeURIComponent("https://contoso.com/;$(id)")}`;
  const { status, body } = await answer({ query } as Parameters<typeof answer>[0], new AbortController().signal);
  expect(status).toBe(403);
  expect(JSON.parse(body).message).toEndWith(`--resource 'https://contoso.com/;$(id)'`);
});

test("identityAnswers() tells azd the option for another tenant than that of --tenant, which may be the same by its id", async () => {
  const TENANT = "33333333-2222-4333-8444-555555555555", scope = "https://management.azure.com//.default";
  const answer = identityAnswers({
    clientId: "11111111-2222-4333-8444-555555555555",
    scopes: new Set([scope]),
    identities: new Set(),
    tenant: "contoso.com",
    acquire: () => expect.unreachable(),
    onOutcome: () => expect.unreachable(),
  });
  const content = JSON.stringify({ scopes: [scope], tenantId: TENANT });
  const asked = { query: "?api-version=2023-07-12-preview", content };
  const { status, body } = await answer(asked, new AbortController().signal);
  expect(status).toBe(200);
  expect(JSON.parse(body)).toEqual({
    status: "error",
    code: "GetTokenError",
    message: `Only tokens of the tenant contoso.com are served here: run latchkey serve with --tenant ${TENANT}`,
  });
});
