// The three calls of a silent token over our D-Bus client, with nothing before and nothing behind: the floor of `latchkey token`.
import { openSessionBus } from "../../lib/dbus/open.ts";

const [clientId = "", scope = ""] = Deno.args, NAME = "com.microsoft.identity.broker1";
const bus = await openSessionBus(), object = { destination: NAME, path: "/com/microsoft/identity/broker1" };
const ping = bus.call({ ...object, interface: "org.freedesktop.DBus.Peer", member: "Ping" });
const { accounts: [account] } = await ask("getAccounts", { clientId, redirectUri: clientId });
const reply = await ask("acquireTokenSilently", {
  authParameters: {
    accessTokenToRenew: "",
    account,
    additionalQueryParametersForAuthorization: {},
    authority: `https://login.microsoftonline.com/${account.realm}`,
    authorizationType: 1,
    clientId,
    decodedClaims: "",
    enrollmentId: "",
    isTestMode: false,
    password: "",
    popParams: null,
    redirectUri: "https://login.microsoftonline.com/common/oauth2/nativeclient",
    requestedScopes: [scope],
    username: account.username,
    uxContextHandle: -1,
  },
});
await ping;
Deno.stdout.writeSync(new TextEncoder().encode(`${reply.brokerTokenResponse.accessToken}\n`));
Deno.exit();

async function ask(member: string, request: object) {
  const body = ["0.0", crypto.randomUUID(), JSON.stringify(request)];
  const call = { ...object, interface: "com.microsoft.identity.Broker1", member, signature: "sss", body };
  const [json] = await bus.call(call);
  return JSON.parse(String(json));
}
