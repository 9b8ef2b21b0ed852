// A remedy of each kind, for tests of the words of each interface.
import type { Remedy } from "../../lib/remedies.ts";

/** The compiler demands an entry for each kind. */
const REMEDY: { readonly [K in Remedy["kind"]]: Extract<Remedy, { readonly kind: K }> } = {
  advice: { kind: "advice", text: "Update the broker" },
  sign_in: { kind: "sign_in" },
  sign_in_again: { kind: "sign_in_again", with: "claims" },
  sign_in_elsewhere: { kind: "sign_in_elsewhere" },
  list_accounts: { kind: "list_accounts" },
  choose_account: { kind: "choose_account", among: "tenants" },
  consent: { kind: "consent" },
  name_scopes: { kind: "name_scopes" },
  name_resource: { kind: "name_resource" },
  request_one_resource: { kind: "request_one_resource", scopes: ["a", "b"] },
  check_request: { kind: "check_request", parameters: ["clientId", "authority", "tenant", "account"] },
  omit_parameter: { kind: "omit_parameter", parameter: "authenticationScheme" },
  register_redirect_uri: { kind: "register_redirect_uri", redirectUri: "http://localhost", clientId: "app" },
  enable_broker: { kind: "enable_broker", options: ["enableBrokerOnLinux"] },
  require_broker: { kind: "require_broker" },
  disable_broker: { kind: "disable_broker" },
  repair_broker: { kind: "repair_broker", text: "Start the broker again" },
  install: { kind: "install", package: "dbus-next", command: "npm install dbus-next" },
  run_deno_with: { kind: "run_deno_with", flags: "--allow-all" },
  choose_store: { kind: "choose_store" },
  run_doctor: { kind: "run_doctor" },
  serve_elsewhere: { kind: "serve_elsewhere" },
  check_network: { kind: "check_network", host: "login.microsoftonline.com" },
  try_again: { kind: "try_again", afterSeconds: 60 },
};

export const REMEDIES: readonly Remedy[] = Object.values(REMEDY);
