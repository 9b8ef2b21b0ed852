// Asks Azure's own library for a token by az, and prints it, or why there is none: azure_cli_client TENANT.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

type answer struct {
	Token   string `json:"token,omitempty"`
	Expires int64  `json:"expires,omitempty"`
	Error   string `json:"error,omitempty"`
}

func ask(tenant string) answer {
	options := azidentity.AzureCLICredentialOptions{TenantID: tenant, Subscription: "my subscription"}
	credential, err := azidentity.NewAzureCLICredential(&options)
	if err != nil {
		return answer{Error: err.Error()}
	}
	scopes := []string{"https://management.azure.com/.default"}
	token, err := credential.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: scopes})
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Token: token.Token, Expires: token.ExpiresOn.Unix()}
}

func main() {
	text, _ := json.Marshal(ask(os.Args[1]))
	fmt.Println(string(text))
}
