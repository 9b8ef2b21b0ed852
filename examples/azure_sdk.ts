// A secret from Azure Key Vault with the person's own rights: azure_sdk.ts CLIENT_ID https://contoso.vault.azure.net SECRET
// deno-lint-ignore-file no-console -- to print is what an example is for
import { SecretClient } from "@azure/keyvault-secrets";
import { LatchkeyCredential } from "@latchkey/latchkey/azure";

const [clientId = "", vault = "", name = ""] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
if (!name) throw new Error("azure_sdk.ts CLIENT_ID VAULT SECRET");
const credential = new LatchkeyCredential({
  clientId,
  enableBrokerOnWindows: true,
  enableBrokerOnMac: true,
  enableBrokerOnLinux: true,
  enableBrokerOnWsl: true,
  onSignInAddress: ({ url }) => console.error(`Sign in at ${url}`), // where there is no broker
});
try {
  // Any client of Azure's SDKs takes the credential, and answers claims challenges by it.
  const { value } = await new SecretClient(vault, credential).getSecret(name);
  console.log(value);
} finally {
  credential.close();
}
