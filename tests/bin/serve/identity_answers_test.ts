// What a managed-identity endpoint answers, by itself.
import { expect, test } from "bun:test";
import { identityAnswers } from "../../../bin/serve/endpoint.ts";

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
