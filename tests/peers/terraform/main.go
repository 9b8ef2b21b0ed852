// Gets a token as Terraform's provider for Azure (azurerm) does at its start, by az, and prints it, or why there is none:
// terraform_client TENANT SUBSCRIPTION.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-azure-sdk/sdk/auth"
	"github.com/hashicorp/go-azure-sdk/sdk/environments"
)

type answer struct {
	Token               string `json:"token,omitempty"`
	Tenant              string `json:"tenant,omitempty"`
	DefaultSubscription string `json:"defaultSubscription,omitempty"`
	Error               string `json:"error,omitempty"`
}

func ask(tenant string, subscription string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cloud := environments.AzurePublic()
	authorizer, err := auth.NewAuthorizerFromCredentials(ctx, auth.Credentials{
		Environment:                       *cloud,
		EnableAuthenticatingUsingAzureCLI: true,
		TenantID:                          tenant,
		AzureCliSubscriptionIDHint:        subscription,
	}, cloud.ResourceManager)
	if err != nil {
		return answer{Error: err.Error()}
	}
	token, err := authorizer.Token(ctx, nil)
	if err != nil {
		return answer{Error: err.Error()}
	}
	found := answer{Token: token.AccessToken}
	if cached, isCached := authorizer.(*auth.CachedAuthorizer); isCached {
		if cli, isCli := cached.Source.(*auth.AzureCliAuthorizer); isCli {
			found.Tenant, found.DefaultSubscription = cli.TenantID, cli.DefaultSubscriptionID
		}
	}
	return found
}

func main() {
	text, _ := json.Marshal(ask(os.Args[1], os.Args[2]))
	fmt.Println(string(text))
}
