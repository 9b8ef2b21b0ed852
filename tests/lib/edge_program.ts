// A worker that imports the entry . where no broker can be, and tells what its calls end with: /?enableBrokerOnLinux
import { PublicClientApplication } from "../../mod.ts";

const ACCOUNT = {
  ...{ homeAccountId: "jane.contoso", localAccountId: "jane", environment: "login.microsoftonline.com" },
  ...{ tenantId: "contoso", realm: "contoso", username: "jane@contoso.com", source: "cache" } as const,
};

/** What a call gives, or is refused with. */
async function outcome(call: Promise<unknown>): Promise<unknown> {
  try {
    return await call;
  } catch (error) {
    const { name, code, message } = error as Error & { code?: string };
    return { name, code, message };
  }
}

export default {
  async fetch(request: Request): Promise<Response> {
    const flags = Object.fromEntries([...new URL(request.url).searchParams.keys()].map((name) => [name, true]));
    const app = new PublicClientApplication({ clientId: "11111111-2222-4333-8444-555555555555", ...flags });
    const scopes = ["User.Read"], redirectUri = "https://app.contoso.com/signed-in";
    return Response.json({
      status: await app.brokerStatus(),
      accounts: await outcome(app.getAccounts()),
      silent: await outcome(app.acquireTokenSilent({ scopes, account: ACCOUNT })),
      sign: await outcome(app.signHttpRequest({ account: ACCOUNT, method: "GET", url: "https://app.contoso.com/" })),
      flow: await outcome(app.initiateAuthCodeFlow({ scopes, redirectUri })),
    });
  },
};
