/**
 * `latchkey app`.
 *
 * @module
 */
import { type RedirectUri, redirectUris, type SignInWay } from "../../lib/redirect_uris.ts";
import { clientIdOf, wellKnownName } from "../cli/application.ts";
import { type Command, isAtMicrosoft } from "../cli/command_line.ts";
import { AUTHORITY, CLIENT_ID, PROFILE, REDIRECT_PATH } from "../cli/options.ts";
import { TEXT_FORMAT } from "../cli/formats.ts";
import { print, printJson } from "../cli/output.ts";
import { escapeForTerminal } from "../../lib/control_characters.ts";

export const command: Command = {
  name: "app",
  summary: "Print the redirect URIs for an app registration, and how to add them",
  usage: "app --client-id ID [options]",
  operands: 0,
  options: [CLIENT_ID, AUTHORITY, REDIRECT_PATH, PROFILE, TEXT_FORMAT],
  examples: [
    ["latchkey app --client-id ID", "Print what to register, with Azure CLI or in the portal"],
    ["latchkey app --client-id ID --authority https://id.contoso.com", "Print what to register at another provider"],
    [
      "latchkey app --client-id ID --format json | jq -r '.redirect_uris[].uri'",
      "Print only the redirect URIs, for a script",
      "(latchkey app --client-id ID --format json | ConvertFrom-Json).redirect_uris.uri",
    ],
  ],
  run(line) {
    const clientId = clientIdOf(line);
    const authority = line.text("authority");
    const redirectPath = line.text("redirect-path");
    const uris = redirectUris(clientId, { authority, redirectPath });
    const otherAuthority = isAtMicrosoft(line) ? undefined : authority;
    const name = otherAuthority === undefined ? wellKnownName(clientId) : undefined;
    if (line.get(TEXT_FORMAT) === "text") return print(registrationText({ clientId, uris, otherAuthority, name }));
    printJson({
      client_id: clientId,
      redirect_uris: uris,
      public_client: true,
      owner: name === undefined ? "you" : "microsoft",
      ...(name === undefined && otherAuthority === undefined && { az: azCommand(clientId, uris) }),
    });
  },
};

const WAYS: Readonly<Record<SignInWay, string>> = {
  windows: "Windows",
  wsl: "WSL",
  macos: "macOS",
  linux: "Linux",
  browser: "the browser, if there is no broker",
};

interface Registration {
  readonly clientId: string;
  readonly uris: readonly RedirectUri[];
  readonly otherAuthority: string | undefined;
  /** The app's name, if it is one of Microsoft's own. */
  readonly name: string | undefined;
}

function registrationText({ clientId, uris, otherAuthority, name }: Registration): string {
  if (name !== undefined) {
    return `${name} is one of Microsoft's own apps: only Microsoft can change its registration.
If a redirect URI is missing (AADSTS50011), use an app registration of your own:
  az ad app create --display-name NAME --is-fallback-public-client true
  latchkey app --client-id ID
`;
  }
  if (otherAuthority !== undefined) {
    return `Redirect URI for the app ${escapeForTerminal(clientId)} at ${escapeForTerminal(otherAuthority)}:
${uris.map(({ uri }) => `  ${uri}\n`).join("")}
The provider has to accept it with any port (RFC 8252, 7.3). If it does not, fix the port:
  register http://127.0.0.1:8400/... instead, with the same path, and sign in with --port 8400
To choose another path, give --redirect-path PATH here and at the sign-in; use a path for one provider only.
The app has to be a public (native) client, without a secret.
`;
  }
  const width = Math.max(...uris.map(({ uri }) => uri.length));
  const rows = uris.map(({ uri, ways }) => `  ${uri.padEnd(width)}  ${ways.map((way) => WAYS[way]).join(", ")}\n`);
  return `Redirect URIs for the app registration ${clientId}:
${rows.join("")}
With Azure CLI. The command replaces the whole list, so add the URIs that the app already has:
  az ad app show --id ${clientId} --query publicClient.redirectUris
  ${azCommand(clientId, uris)}

In the portal: https://entra.microsoft.com, App registrations, the app, Authentication:
  Add a platform, Mobile and desktop applications: each of them as a custom redirect URI
  Advanced settings, Allow public client flows: Yes
`;
}

function azCommand(clientId: string, uris: readonly RedirectUri[]): string {
  return `az ad app update --id ${clientId} --is-fallback-public-client true ` +
    `--public-client-redirect-uris ${uris.map(({ uri }) => uri).join(" ")}`;
}
